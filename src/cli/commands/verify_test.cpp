#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kVerify = "POST /v1/replicas/web1/verify";

json verified(bool equal) {
    json ranges = json::array();
    if (!equal) ranges.push_back({{"target", "vda"}, {"offset", 4096}, {"length", 8192}});
    return {{"verification",
             {{"equal", equal},
              {"compared", 2ULL << 30},
              {"differing", equal ? 0 : 8192},
              {"ranges_found", equal ? 0 : 1},
              {"ranges", ranges}}},
            {"source_name", "prod"},
            {"verify_wire_bytes", 22'000}};
}

json ended(const std::string& id, const json& result, const std::string& title) {
    auto task = task_json("succeeded", title);
    task["id"] = id;
    task["result"] = result;
    return {{"task", task}, {"progress_mark", "9"}};
}

TEST(Verify, says_that_it_is_equal_and_what_that_cost) {
    Program program;
    script_task(program.api, kVerify, verified(true), "verify web1@nightly");
    const auto ran =
        program.run({"replica", "verify", "web1", "--snapshot", "nightly", "--rate", "50MiB/s"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("verify web1@nightly: equal to what prod has (2.0 GiB "
                                   "compared, 21.5 KiB on the wire)"));
    EXPECT_EQ(json::parse(program.api.calls.front().body),
              json({{"repair", false}, {"snapshot", "nightly"}, {"rate_bytes", 50 << 20}}));
}

TEST(Verify, what_differs_is_a_failure) {
    Program program;
    program.api.answer(kVerify, {{"task", task_json("queued", "verify web1@nightly")}});
    auto failed = task_json("failed", "verify web1@nightly");
    failed["error_kind"] = "corrupt";
    failed["error"] = "verify web1@nightly: it is not as on 'prod': vda at 4096+8192";
    program.api.answer("GET " + kTaskPath, {{"task", failed}, {"progress_mark", "9"}});
    const auto ran = program.run({"replica", "verify", "web1"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("vda at 4096+8192"));
}

TEST(Verify, follows_a_repair_and_the_comparison_after_it) {
    Program program;
    auto found = verified(false);
    found["next"] = "repair-id";
    script_task(program.api, kVerify, found, "verify web1@nightly");
    program.api.answer(
        "GET /v1/tasks/repair-id",
        ended("repair-id", {{"repaired_bytes", 8192}, {"repair_wire_bytes", 1}, {"next", "last"}},
              "repair web1@nightly"));
    program.api.answer("GET /v1/tasks/last", ended("last", verified(true), "verify web1@nightly"));
    const auto ran = program.run({"replica", "verify", "web1", "--repair"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("vda at 4096, 8192 bytes"));
    EXPECT_THAT(ran.out, HasSubstr("repair web1@nightly: 8.0 KiB repaired"));
    EXPECT_THAT(ran.out, HasSubstr("equal to what prod has"));
    EXPECT_EQ(program.run({"replica", "verify", "web1", "--repair", "--format=json"})
                  .json()
                  .at("tasks")
                  .size(),
              3U);
}

TEST(Verify, all_goes_on_after_one_that_fails_and_names_it) {
    Program program;
    program.api.answer(
        "GET /v1/replicas",
        {{"replicas", {{{"id", "id-1"}, {"name", "web1"}}, {{"id", "id-2"}, {"name", "web2"}}}}});
    program.api.fails("POST /v1/replicas/id-1/verify", Error(ErrorKind::unavailable, "no line"));
    script_task(program.api, "POST /v1/replicas/id-2/verify", verified(true), "verify web2@x");
    const auto ran = program.run({"replica", "verify", "--all"});
    EXPECT_EQ(ran.code, 4);
    EXPECT_THAT(ran.out, HasSubstr("verify web2@x: equal"));
    EXPECT_THAT(ran.err, HasSubstr("1 of 2 replicas are not proven to be as their source: web1"));
}

TEST(Verify, wants_a_vm_or_all_of_them) {
    Program program;
    EXPECT_EQ(program.run({"replica", "verify"}).code, 2);
    EXPECT_EQ(program.run({"replica", "verify", "web1", "--all"}).code, 2);
    EXPECT_EQ(program.run({"replica", "verify", "--all", "--snapshot", "x"}).code, 2);
    EXPECT_TRUE(program.api.calls.empty());
}

}  // namespace
}  // namespace understudy::cli
