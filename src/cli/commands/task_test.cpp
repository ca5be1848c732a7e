#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Task, list_and_info) {
    Program program;
    auto running = task_json("running", "send web1@n to dr");
    running["progress"] = {{"done_bytes", 1 << 29}, {"total_bytes", 1 << 30}};
    running["cancel_requested"] = true;
    program.api.answer("GET /v1/tasks?active=1", {{"tasks", {running}}});
    program.api.answer("GET /v1/tasks?vm=web%201", {{"tasks", json::array()}});
    EXPECT_EQ(program.run({"task", "list"}).out,
              "ID        STATE     WHAT               CREATED      PROGRESS\n"
              "7f3a21b0  stopping  send web1@n to dr  1 m 0 s ago  50 % of 1.0 GiB\n");
    EXPECT_EQ(program.run({"task", "list", "--all", "--vm", "web 1"}).out, "");
    auto failed = task_json("failed");
    failed["error"] = "no space";
    failed["error_kind"] = "no_space";
    failed["result"] = {{"bytes", 5}};
    program.api.answer("GET /v1/tasks/7f3a", {{"task", failed}, {"progress_mark", ""}});
    const auto ran = program.run({"task", "info", "7f3a"});
    EXPECT_THAT(ran.out, HasSubstr("Last error (no_space): no space"));
    EXPECT_THAT(ran.out, HasSubstr("\"bytes\": 5"));
    EXPECT_THAT(ran.out, Not(HasSubstr("Ended")));
}

TEST(Task, cancel_and_retry) {
    Program program;
    program.api.answer("POST /v1/tasks/7f3a/cancel", {{"task", task_json("running")}});
    EXPECT_THAT(program.run({"task", "cancel", "7f3a"}).out, HasSubstr("Asked the work to stop"));
    script_task(program.api, "POST /v1/tasks/7f3a/retry", nullptr, "take a snapshot");
    EXPECT_EQ(program.run({"task", "retry", "7f3a"}).out, "Done: take a snapshot.\n");
}

json lines(int from, int to) {
    json all = json::array();
    for (int i = from; i <= to; ++i)
        all.push_back({{"sequence", i},
                       {"time", "2026-11-23T09:59:00.000Z"},
                       {"text", "line " + std::to_string(i) + "\x1b"}});
    return {{"lines", all}};
}

TEST(TaskLog, reads_on_until_there_is_no_more) {
    Program program;
    program.api.answer("GET /v1/tasks/7f3a/log?after=0", lines(1, 2));
    program.api.answer("GET /v1/tasks/7f3a/log?after=2", lines(3, 3));
    program.api.answer("GET /v1/tasks/7f3a/log?after=3", lines(1, 0));
    EXPECT_EQ(program.run({"task", "log", "7f3a"}).out,
              "2026-11-23T09:59:00.000Z  line 1\\x1b\n"
              "2026-11-23T09:59:00.000Z  line 2\\x1b\n"
              "2026-11-23T09:59:00.000Z  line 3\\x1b\n");
    EXPECT_EQ(program.run({"task", "log", "7f3a", "--format=json"}).json(), lines(1, 3));
}

TEST(TaskLog, follow_ends_with_the_task_and_misses_nothing) {
    Program program;
    auto& api = program.api;
    api.answer("GET /v1/tasks/7f3a", {{"task", task_json("running")}, {"progress_mark", "1"}});
    api.answer("GET /v1/tasks/7f3a?wait_ms=2000&progress=1",
               {{"task", task_json("failed")}, {"progress_mark", "2"}});
    api.answer("GET /v1/tasks/7f3a/log?after=0", lines(1, 1));
    api.answer("GET /v1/tasks/7f3a/log?after=1", lines(1, 0));
    api.answer("GET /v1/tasks/7f3a/log?after=1", lines(2, 2));
    api.answer("GET /v1/tasks/7f3a/log?after=2", lines(1, 0));
    const auto ran = program.run({"task", "log", "7f3a", "--follow"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("line 2"));
}

}  // namespace
}  // namespace understudy::cli
