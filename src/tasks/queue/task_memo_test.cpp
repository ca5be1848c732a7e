#include "tasks/queue/task_memo.hpp"

#include <gmock/gmock.h>

namespace understudy::tasks {
namespace {

using nlohmann::json;

TaskMemo read(const json& stored) {
    model::Task task;
    task.memo = stored.dump();
    auto memo = read_task_memo(task);
    if (!memo) throw std::runtime_error(memo.error().text());
    return std::move(*memo);
}

// As the runner of commit c5b03b3 left a cancelled move whose clean-up could not finish.
TEST(TaskMemo, version_0_had_how_the_task_ended_as_outcome_beside_the_kinds_memo) {
    const auto memo = read({{"attempts_in_vain", 3},
                            {"outcome", {{"kind", "cancelled"}, {"text", "move web1: cancelled"}}},
                            {"was_running", true},
                            {"refusal", "cancelled by the operator"}});
    ASSERT_TRUE(memo.ended_as);
    EXPECT_EQ(memo.ended_as->kind, "cancelled");
    EXPECT_EQ(memo.ended_as->text, "move web1: cancelled");
    EXPECT_EQ(memo.attempts_without_progress, 3u);
    EXPECT_EQ(memo.memo, json({{"was_running", true}, {"refusal", "cancelled by the operator"}}));
    EXPECT_TRUE(memo.parts.empty());
}

TEST(TaskMemo, version_0_had_what_a_part_has_found_so_far_as_told) {
    const json part{{"kind", "send"},
                    {"step", "transfer"},
                    {"arguments", {{"full", false}}},
                    {"memo", {{"left_bytes", 7}}},
                    {"told", {{"bytes", 9}}}};
    const auto memo = read({{"parts", {{"last-send", part}}}, {"was_running", true}});
    ASSERT_TRUE(memo.parts.contains("last-send"));
    const auto& send = memo.parts.at("last-send");
    EXPECT_EQ(send.kind, "send");
    EXPECT_EQ(send.step, "transfer");
    EXPECT_EQ(send.arguments, part["arguments"]);
    EXPECT_EQ(send.memo, part["memo"]);
    EXPECT_EQ(send.partial_result, part["told"]);
    EXPECT_FALSE(send.result);
    EXPECT_EQ(memo.memo, json({{"was_running", true}}));
    EXPECT_FALSE(memo.ended_as);
}

TEST(TaskMemo, of_version_0_is_the_same_once_it_is_written_in_todays_form) {
    auto memo =
        read({{"outcome", {{"kind", "internal"}, {"text", "t"}}},
              {"attempts_in_vain", 2},
              {"parts", {{"last", {{"kind", "snapshot_create"}, {"told", json::object()}}}}},
              {"last", "x"}});
    const auto written = write_task_memo(memo);
    EXPECT_EQ(json::parse(written).at("version"), 1);
    EXPECT_EQ(write_task_memo(read(json::parse(written))), written);
}

}  // namespace
}  // namespace understudy::tasks
