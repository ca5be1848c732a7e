// Rollback, promote and snapshot where the host refuses, or the daemon ends half-way.
#include "all_well.hpp"
#include "play.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace understudy::sim {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr ByteSize kDisk = base::KiB(256);

class OneVm : public testing::Test {
protected:
    OneVm() {
        spdlog::set_level(spdlog::level::off);
        a.start();
        b.start();
        id = world.chance().id<SnapshotId>();
        a.write(vm, "vda", 0, 8, world.next_stamp());
        a.queue("snapshot_create", vm, "snapshot",
                {{"snapshot", id.text()}, {"name", "first"}, {"freeze", true}});
        a.run_all();
        a.write(vm, "vda", 4, 8, world.next_stamp());
        a.write(vm, "vdb", 4, 8, world.next_stamp());
    }
    void TearDown() override { expect_all_well(world); }

    TaskId roll_back(Cluster& on, nlohmann::json accept = nlohmann::json::array()) {
        EXPECT_TRUE(on.hypervisor().stop(vm));
        return *on.queue("snapshot_rollback", vm, "rollback",
                         {{"snapshot", id.text()}, {"accept", std::move(accept)}});
    }
    TaskId promote(bool start) {
        world.promoted.insert(vm);  // the owner lives
        return *b.queue("promote", vm, "promote",
                        {{"snapshot", id.text()}, {"start", start}, {"owner_may_answer", true}});
    }
    void sent() {
        a.queue("send", vm, "send", {{"snapshot", id.text()}, {"peer", b.id().text()}});
        a.run_all();
        ASSERT_TRUE(*b.catalog().find_snapshot(id));
    }
    // Its guest finds what it wrote, whatever a task is about to do with its disks.
    void expect_intact(Cluster& on) {
        ASSERT_TRUE(on.hypervisor().start(vm));
        check_promises(world);
        EXPECT_THAT(world.broken_promises(), IsEmpty());
        ASSERT_TRUE(on.hypervisor().stop(vm));
    }
    void expect_refused(Cluster& on, const TaskId& task, const std::string& why) {
        const auto before = on.hypervisor().disks(vm);
        on.run_all();
        EXPECT_THAT(on.task(task).error, HasSubstr(why));
        EXPECT_EQ(on.task(task).state, model::TaskState::failed);
        const auto after = on.hypervisor().disks(vm);
        for (std::size_t i = 0; i < before.size(); ++i)
            EXPECT_EQ(after.at(i).source, before[i].source);
        expect_intact(on);
    }

    World world{1};
    Cluster& a = world.a();
    Cluster& b = world.b();
    VmId vm = a.create_vm("web1", {kDisk, kDisk});
    SnapshotId id;
};

TEST_F(OneVm, rollback_cut_off_before_the_definition_changes_leaves_the_vm_on_its_disks) {
    for (const char* call : {"pool.activate", "hypervisor.define"}) {
        const auto task = roll_back(a);
        a.die_at(call, std::string_view(call) == "pool.activate");
        a.run_all();
        ASSERT_FALSE(a.alive());
        expect_intact(a);
        a.start();
        world.clock().sleep(Duration(400'000));
        a.run_all();
        EXPECT_EQ(a.task(task).state, model::TaskState::succeeded) << a.task(task).error;
        check_promises(world);
        ASSERT_TRUE(a.start_vm(vm));
        a.write(vm, "vda", 2, 8, world.next_stamp());
    }
}

TEST_F(OneVm, rollback_cut_off_after_it_is_completed_by_the_next_daemon) {
    const auto task = roll_back(a);
    a.die_at("hypervisor.define", true);
    a.run_all();
    ASSERT_FALSE(a.alive());
    expect_intact(a);
    a.start();
    world.clock().sleep(Duration(400'000));
    a.run_all();
    EXPECT_EQ(a.task(task).state, model::TaskState::succeeded) << a.task(task).error;
}

TEST_F(OneVm, saved_memory_refuses_a_rollback_before_anything_is_made) {
    a.hypervisor().set_obstacles(vm, {{model::Severity::blocks, "managed-save", "saved"}});
    expect_refused(a, roll_back(a), "saved memory");
}

TEST_F(OneVm, what_this_host_cannot_define_refuses_a_rollback_until_it_is_accepted) {
    sent();
    promote(true);
    b.run_all();
    ASSERT_TRUE(b.hypervisor().runs(vm));
    b.write(vm, "vda", 2, 8, world.next_stamp());
    b.hypervisor().set_adapt_issues({{model::Severity::blocks, "tpm", "a fresh TPM"}});
    expect_refused(b, roll_back(b), "a fresh TPM");
    const auto task = roll_back(b, {"tpm"});
    b.run_all();
    EXPECT_EQ(b.task(task).error, "");
}

TEST_F(OneVm, rollback_at_home_needs_nothing_accepted) {
    a.hypervisor().set_adapt_issues({{model::Severity::blocks, "tpm", "a fresh TPM"}});
    const auto task = roll_back(a);
    a.run_all();
    EXPECT_EQ(a.task(task).error, "");
}

TEST_F(OneVm, a_name_that_is_taken_stops_a_promote_before_the_epoch_is_raised) {
    b.create_vm("web1", {kDisk});
    sent();
    const auto task = promote(true);
    b.run_all();
    EXPECT_THAT(b.task(task).error, HasSubstr("named 'web1'"));
    EXPECT_EQ(b.catalog().vm(vm)->ownership.phase, model::Phase::replica);
    EXPECT_EQ(b.catalog().vm(vm)->ownership.epoch, a.catalog().vm(vm)->ownership.epoch);
}

TEST_F(OneVm, a_guest_is_thawed_by_the_next_daemon_whether_its_snapshot_goes_on_or_not) {
    a.hypervisor().set_consistency(model::Consistency::filesystem);
    for (const bool cancelled : {false, true}) {
        const auto task = *a.queue("snapshot_create", vm, "snapshot",
                                   {{"snapshot", world.chance().id<SnapshotId>().text()},
                                    {"name", cancelled ? "third" : "second"},
                                    {"freeze", true}});
        a.die_at("hypervisor.snapshot", true);
        a.run_all();
        ASSERT_TRUE(a.hypervisor().frozen(vm));
        if (cancelled) {
            ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
        }
        a.start();
        world.clock().sleep(Duration(400'000));
        a.run_all();
        EXPECT_FALSE(a.hypervisor().frozen(vm));
    }
}

}  // namespace
}  // namespace understudy::sim
