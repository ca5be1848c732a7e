// Rows of tasks that this version cannot read end that task alone, with nothing of theirs changed.
#include "base/must_test.hpp"
#include "model/json.hpp"
#include "world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace understudy::sim {
namespace {

using model::TaskState;
using testing::HasSubstr;

class UnreadableRows : public testing::Test {
protected:
    UnreadableRows() : vm(a.create_vm("web1", {base::KiB(64)})) {
        spdlog::set_level(spdlog::level::off);
        a.start();
    }
    // A snapshot's task as some other version left it.
    TaskId left_behind(const std::string& step, const std::string& memo,
                       const std::string& arguments = {}, const std::string& kind = {},
                       const std::string& other_arguments = {}) {
        const auto id =
            *a.queue("snapshot_create", vm, "snapshot left",
                     {{"snapshot", world.chance().id<SnapshotId>().text()}, {"name", "left"}});
        auto task = a.task(id);
        task.id = world.chance().id<TaskId>();
        task.step = step;
        task.memo = memo;
        if (!arguments.empty()) task.arguments = arguments;
        if (!kind.empty()) task.kind = kind;
        if (!other_arguments.empty()) task.arguments = other_arguments;
        must(a.catalog().request_cancel(id, a.clock().now()));
        must(a.catalog().add_task(task));
        a.run_all();
        return task.id;
    }
    void expect_failed(const TaskId& id, const std::string& kind, const std::string& text) {
        const auto task = a.task(id);
        EXPECT_EQ(task.state, TaskState::failed) << task.error;
        EXPECT_EQ(task.error_kind, kind);
        EXPECT_THAT(task.error, HasSubstr(text));
    }
    // The daemon and the VM go on.
    void expect_another_works() {
        const auto id = world.chance().id<SnapshotId>();
        a.queue("snapshot_create", vm, "snapshot next",
                {{"snapshot", id.text()}, {"name", "next"}});
        a.run_all();
        EXPECT_TRUE(must(a.catalog().find_snapshot(id)));
    }

    World world{1, Trace::Loud::silent};
    Cluster& a = world.a();
    VmId vm;
};

TEST_F(UnreadableRows, of_a_newer_version_fail_and_stay_as_they_are) {
    const std::string memo = R"({"version":7,"what":"ever"})";
    const auto id = left_behind("commit", memo);
    expect_failed(id, "unsupported", "Update understudyd");
    EXPECT_EQ(a.task(id).memo, memo);
    EXPECT_EQ(a.task(id).step, "commit");
    expect_another_works();
}

TEST_F(UnreadableRows, of_a_wrong_shape_are_corrupt_and_end_no_daemon) {
    for (const std::string memo :
         {R"({"version":1,"memo":{"disks":"none"}})", R"({"disks":{"vda":1}})", "no json", "[]",
          R"({"disks":[],"consistency":"perhaps"})"}) {
        const auto id = left_behind("commit", memo);
        expect_failed(id, "corrupt", "memo");
        EXPECT_EQ(a.task(id).memo, memo);
    }
    expect_failed(left_behind("", "{}", R"({"version":1,"name":"left"})"), "corrupt", "'vm'");
    expect_another_works();
}

TEST_F(UnreadableRows, an_unknown_step_is_not_the_first_one) {
    const auto id = left_behind("polish", R"({"version":1,"memo":{"epoch":3}})");
    expect_failed(id, "unsupported", "no step 'polish'");
    EXPECT_EQ(a.task(id).step, "polish");
    expect_another_works();
}

// A part is looked at before anything is undone: the whole is left as it is.
TEST_F(UnreadableRows, of_a_part_end_the_whole_and_undo_nothing) {
    const auto memo = [&](const std::string& part) {
        return R"({"parts":{"branch":{"kind":"snapshot_create","arguments":)"
               R"({"name":"n","snapshot":")" +
               world.chance().id<SnapshotId>().text() + R"(","vm":")" + vm.text() + R"("},)" +
               part + "}},\"version\":1}";
    };
    for (const auto& [part, kind] :
         {std::pair<std::string, std::string>{R"("step":"polish")", "unsupported"},
          {R"("step":"commit","memo":{"version":9})", "unsupported"},
          {R"("step":"commit","memo":{"disks":7})", "corrupt"}}) {
        const auto text = memo(part);
        const auto id = left_behind("keep", text, {}, "keep_branch",
                                    R"({"version":1,"epoch":2,"vm":")" + vm.text() + "\"}");
        EXPECT_EQ(a.task(id).error_kind, kind) << a.task(id).error;
        EXPECT_EQ(a.task(id).memo, text);
    }
    expect_another_works();
}

// Their later steps carry out what `check` has recorded: without it they change nothing.
TEST_F(UnreadableRows, of_a_promote_or_resolve_that_do_not_say_what_was_decided_are_corrupt) {
    expect_another_works();
    const auto before = must(a.catalog().vm(vm));
    const auto vm_text = "\"vm\":\"" + vm.text() + "\"";
    const auto snapshot = before.head_parent.value_or(SnapshotId{}).text();
    const std::string memo = R"({"version":1,"memo":{"disks":[]}})";
    expect_failed(left_behind("own", memo, {}, "promote",
                              "{" + vm_text + R"(,"snapshot":")" + snapshot + "\"}"),
                  "corrupt", "what was decided");
    for (const std::string step : {"decide", "settle"})
        expect_failed(left_behind(step, memo, {}, "resolve", "{" + vm_text + R"(,"keep":"here"})"),
                      "corrupt", "what was decided");
    EXPECT_EQ(must(a.catalog().vm(vm)).ownership, before.ownership);
}

TEST_F(UnreadableRows, that_failed_stand_in_nobodys_way_for_good) {
    expect_another_works();
    expect_failed(left_behind("write", "no json", {}, "snapshot_export"), "corrupt", "memo");
    const auto task = *a.queue("release", vm, "release", nlohmann::json::object());
    a.run_all();
    EXPECT_EQ(a.task(task).state, TaskState::succeeded) << a.task(task).error;
}

TEST_F(UnreadableRows, can_be_retried_by_a_version_that_reads_them) {
    const auto id = left_behind("polish", "{}");
    auto task = a.task(id);
    expect_failed(id, "unsupported", "polish");
    must(a.catalog().retry_task(id, a.clock().now()));
    a.run_all();
    expect_failed(id, "unsupported", "polish");
}

}  // namespace
}  // namespace understudy::sim
