#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

// Which line of a VM goes on, and what a move would take.

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kResolve = "POST /v1/replicas/web1/resolve";

struct Resolve : Program {
    Resolve() {
        api.answer(kResolve, {{"task", task_json("queued")}});
        auto ended = task_json("succeeded", "resolve web1");
        ended["kind"] = "resolve";
        ended["result"] = {{"vm", "web1"}, {"kept", "there"},    {"owner", "dr"},
                           {"epoch", 2},   {"new_vm", "before"}, {"started", false}};
        api.answer("GET /v1/tasks/7f3a21b0-0000-4000-8000-000000000001", {{"task", ended}});
    }
    json body() { return api.calls.empty() ? json::object() : json::parse(api.calls.front().body); }
};

TEST(Resolve, as_new_vm_keeps_the_owners_line_and_says_what_is_made) {
    Resolve program;
    const auto ran =
        program.on_terminal({"replica", "resolve", "web1", "--as-new-vm", "before"}, "web1\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.err, AllOf(HasSubstr("becomes a VM of its own, before"),
                               HasSubstr("it is not started")));
    EXPECT_EQ(program.body().at("keep"), "there");
    EXPECT_EQ(program.body().at("as_new_vm"), "before");
    EXPECT_EQ(program.body().at("start_new_vm"), false);
    EXPECT_THAT(ran.out + ran.err,
                AllOf(HasSubstr("is now the VM before, not started: `understudy vm start before`"),
                      HasSubstr("--let-go")));
}

TEST(Resolve, starts_the_new_vm_only_when_that_is_asked_for) {
    Resolve program;
    program.run({"-y", "replica", "resolve", "web1", "--as-new-vm", "before", "--start", "--accept",
                 "tpm"});
    EXPECT_EQ(program.body().at("start_new_vm"), true);
    EXPECT_EQ(program.body().at("accept"), json::array({"tpm"}));
}

TEST(Resolve, without_a_new_vm_asks_for_none) {
    Resolve program;
    program.run({"-y", "replica", "resolve", "web1", "--keep-there"});
    EXPECT_FALSE(program.body().contains("as_new_vm"));
    EXPECT_FALSE(program.body().contains("start_new_vm"));
}

TEST(Resolve, wishes_that_contradict_each_other_never_reach_the_api) {
    const std::vector<std::vector<std::string>> wrong{{},
                                                      {"--keep-here", "--keep-there"},
                                                      {"--keep-here", "--as-new-vm", "x"},
                                                      {"--keep-there", "--start"},
                                                      {"--keep-there", "--accept", "tpm"}};
    for (const auto& options : wrong) {
        Resolve program;
        std::vector<std::string> words{"-y", "replica", "resolve", "web1"};
        words.insert(words.end(), options.begin(), options.end());
        EXPECT_EQ(program.run(words).code, 2) << testing::PrintToString(options);
        EXPECT_TRUE(program.api.calls.empty()) << testing::PrintToString(options);
    }
}

json plan() {
    return {{"vm", "web1"},
            {"peer", "dr"},
            {"running", true},
            {"newest", {{"name", "nightly"}, {"taken", "2026-11-23T09:00:00.000Z"}}},
            {"kind", "incremental"},
            {"bytes", 1048576},
            {"unsent_bytes", 3145728},
            {"expected_bytes", 4194304},
            {"rate_bytes", 1048576},
            {"send_ms", 4000},
            {"downtime_ms", 9000},
            {"moved", "2026-11-22T10:00:00.000Z"},
            {"limit_ms", 120000},
            {"issues", json::array()}};
}

std::string shown(json plan) {
    Program program;
    program.api.answer("POST /v1/vms/web1/move", {{"plan", std::move(plan)}});
    const auto ran = program.run({"vm", "move", "web1", "dr", "--dry-run"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran.out;
}

TEST(MoveDryRun, says_how_much_and_how_long) {
    EXPECT_THAT(shown(plan()),
                AllOf(HasSubstr("4.0 MiB, about 4"), HasSubstr("the VM runs meanwhile"),
                      HasSubstr("about 9"), HasSubstr("as in its last move")));
}

TEST(MoveDryRun, says_what_is_not_known) {
    auto unknown = plan();
    for (const char* name :
         {"unsent_bytes", "expected_bytes", "rate_bytes", "send_ms", "downtime_ms", "moved"})
        unknown[name] = nullptr;
    EXPECT_THAT(shown(unknown), AllOf(HasSubstr("Written since:    unknown"),
                                      HasSubstr("unknown, it was not moved before")));
}

TEST(MoveDryRun, promises_no_downtime_of_a_vm_that_does_not_run) {
    auto stopped = plan();
    stopped["running"] = false;
    EXPECT_THAT(shown(stopped),
                AllOf(HasSubstr("none: it does not run here"), Not(HasSubstr("runs meanwhile"))));
}

}  // namespace
}  // namespace understudy::cli
