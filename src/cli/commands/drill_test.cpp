#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json drilled(bool passed) {
    return {
        {"drill",
         {{"passed", passed},
          {"outcome", passed ? "the guest agent answered after 12 s"
                             : "the guest agent did not come within 5 m 0 s"},
          {"boot_ms", passed ? 12'000 : 0},
          {"ready_ms", passed ? 12'500 : 0},
          {"node", "n1"},
          {"evidence", "/var/lib/understudy/drills/x/y"}}},
        {"issues", json::array({{{"severity", "blocks"}, {"key", "tpm"}, {"text", "no TPM"}}})}};
}

TEST(Drill, says_that_it_passed_and_where_its_evidence_is) {
    Program program;
    script_task(program.api, "POST /v1/replicas/web1/drill", drilled(true), "drill web1@nightly");
    const auto ran = program.run({"replica", "drill", "web1@nightly", "--wait",
                                  "console=login:", "--timeout", "10m", "--network", "cellar"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("drill web1@nightly: passed: the guest agent answered after "
                                   "12 s; up 12.5 s after it was asked for"));
    EXPECT_THAT(ran.out, HasSubstr("no TPM"));
    EXPECT_THAT(ran.out, HasSubstr("/var/lib/understudy/drills/x/y on n1"));
    EXPECT_EQ(json::parse(program.api.calls.front().body), json({{"snapshot", "nightly"},
                                                                 {"wait", "console=login:"},
                                                                 {"network", "cellar"},
                                                                 {"limit_ms", 600'000}}));
}

TEST(Drill, of_a_guest_that_does_not_boot_is_exit_code_1_and_no_error) {
    Program program;
    script_task(program.api, "POST /v1/replicas/web1/drill", drilled(false), "drill web1@nightly");
    const auto ran = program.run({"replica", "drill", "web1"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, HasSubstr("FAILED: the guest agent did not come within"));
    EXPECT_THAT(ran.err, ::testing::Not(HasSubstr("error")));
}

TEST(Drill, wants_a_vm_or_all_and_sensible_options) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{},
                                                  {"web1", "--all"},
                                                  {"--all", "--snapshot", "x"},
                                                  {"web1", "--peer", "prod"},
                                                  {"web1", "--timeout", "soon"},
                                                  {"web1", "--timeout", "0s"}}) {
        Program program;
        std::vector<std::string> all{"replica", "drill"};
        all.insert(all.end(), words.begin(), words.end());
        EXPECT_EQ(program.run(all).code, 2);
        EXPECT_TRUE(program.api.calls.empty());
    }
}

json replica(const std::string& name, const std::string& owner) {
    return {{"id", name}, {"name", name}, {"owner_name", owner}, {"ownership", {{"owner", "u"}}}};
}

TEST(Drill, of_all_goes_on_when_one_fails_and_names_those) {
    Program program;
    program.api.answer(
        "GET /v1/replicas",
        {{"replicas", {replica("web1", "prod"), replica("db", "prod"), replica("mail", "third")}}});
    script_task(program.api, "POST /v1/replicas/web1/drill", drilled(true), "drill web1@a");
    program.api.fails("POST /v1/replicas/db/drill",
                      Error(ErrorKind::conflict, "'drill db@a' is under way"));
    const auto ran = program.run({"replica", "drill", "--all", "--peer", "prod"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, HasSubstr("drill web1@a: passed"));
    EXPECT_THAT(ran.err, HasSubstr("1 of 2 replicas did not come up: db"));
}

TEST(Drill, is_shown_with_its_age_in_list_and_info) {
    auto done = drilled(true)["drill"];
    done["age_ms"] = 3 * 3600 * 1000;
    done["snapshot_name"] = "nightly";
    auto web1 = replica("web1", "prod");
    web1["drilled"] = done;
    auto db = replica("db", "prod");
    db["drilled"] = drilled(false)["drill"];
    db["drilled"]["age_ms"] = 60'000;
    Program program;
    program.api.answer("GET /v1/replicas", {{"replicas", {web1, db, replica("mail", "third")}}});
    program.api.answer("GET /v1/replicas/web1", {{"replica", web1}});
    const auto listed = program.run({"replica", "list"}).out;
    EXPECT_THAT(listed, HasSubstr("12.5 s (3 h 0 m ago)"));
    EXPECT_THAT(listed, HasSubstr("FAILED 1 m 0 s ago"));
    const auto info = program.run({"replica", "info", "web1"}).out;
    EXPECT_THAT(info, HasSubstr("passed 3 h 0 m ago, from nightly: the guest agent answered"));
    EXPECT_THAT(info, HasSubstr("/var/lib/understudy/drills/x/y on n1"));
}

}  // namespace
}  // namespace understudy::cli
