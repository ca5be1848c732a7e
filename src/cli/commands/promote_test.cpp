#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const json kPreview{
    {"promotion",
     {{"vm", "web1"},
      {"snapshot", {{"id", "snap-id"}, {"name", "nightly"}, {"taken", "2026-11-23T09:55:48.000Z"}}},
      {"age_ms", 252000},
      {"owner_name", "home"},
      {"last_contact", nullptr},
      {"epoch", 2},
      {"issues", {{{"severity", "warns"}, {"key", "network:lan"}, {"text", "map it"}}}},
      {"changes", {"vda: /vms/x.qcow2"}}}}};

TEST(Promote, dry_run_shows_what_would_be_lost_without_asking) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote?snapshot=nightly", kPreview);
    const auto ran = program.run({"replica", "promote", "web1@nightly", "--dry-run"});
    EXPECT_EQ(ran.code, 0);
    for (const char* part :
         {"all that was written since then (4 m 12 s)", "Last contact:     unknown",
          "New epoch:        2", "warns   network:lan: map it", "vda: /vms/x.qcow2"})
        EXPECT_THAT(ran.out, HasSubstr(part));
    EXPECT_EQ(program.api.calls.size(), 1U);
    EXPECT_EQ(program
                  .run({"replica", "promote", "web1", "--snapshot", "nightly", "--dry-run",
                        "--format=json"})
                  .json(),
              kPreview);
}

TEST(Promote, on_a_terminal_promotes_what_was_shown) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    script_task(program.api, "POST /v1/replicas/web1/promote",
                {{"vm", "web1"},
                 {"snapshot", "nightly"},
                 {"epoch", 2},
                 {"started", true},
                 {"rto_ms", 1300},
                 {"changes", {"vda: /vms/x.qcow2"}}});
    EXPECT_EQ(program.on_terminal({"replica", "promote", "web1"}, "y\n").code, 1);
    const auto ran = program.on_terminal({"replica", "promote", "web1"}, "web1\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_LT(ran.err.find("4 m 12 s"), ran.err.find("type the VM's name"));
    EXPECT_EQ(ran.out,
              "web1 is owned here now, epoch 2, from snapshot nightly; it runs (RTO 1.3 s).\n"
              "  changed: vda: /vms/x.qcow2\n");
    EXPECT_EQ(json::parse(program.api.calls[program.api.calls.size() - 2].body),
              json({{"start", true}, {"accept", json::array()}, {"snapshot", "snap-id"}}));
}

TEST(Promote, with_y_passes_the_wishes_on) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    program.api.answer("POST /v1/replicas/web1/promote", {{"task", task_json("queued")}});
    const auto ran = program.run(
        {"replica", "promote", "web1", "--no-start", "--accept", "network:lan", "-y", "--no-wait"});
    EXPECT_EQ(ran.out, kTaskId + "\n");
    EXPECT_EQ(program.api.last_body(), json({{"start", false}, {"accept", {"network:lan"}}}));
}

TEST(Promote, takes_it_from_a_living_owner_only_when_told_so) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    program.api.answer("POST /v1/replicas/web1/promote", {{"task", task_json("queued")}});
    program.run({"replica", "promote", "web1", "-y", "--no-wait"});
    EXPECT_FALSE(program.api.last_body().contains("owner_may_answer"));
    program.run({"replica", "promote", "web1", "-y", "--no-wait", "--even-if-owner-answers"});
    EXPECT_EQ(program.api.last_body().at("owner_may_answer"), true);
}

}  // namespace
}  // namespace understudy::cli
