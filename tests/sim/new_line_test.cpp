// Of two lines of a VM the one that gives way as a VM of its own: cut off anywhere, out of room.
#include "all_well.hpp"
#include "base/must_test.hpp"
#include "every_call.hpp"
#include "model/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {
namespace {

using model::Phase;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr ByteSize kDisk = base::KiB(64);
constexpr const char* kName = "fork";

// web1 was promoted on b while it ran on a; both wrote, and a has heard that it is superseded.
struct Parted {
    explicit Parted(std::uint64_t seed, World::Heads heads = World::Heads::move_on)
        : world(seed, Trace::Loud::silent, {heads, heads}) {
        spdlog::set_level(spdlog::level::off);
        a.start();
        b.start();
        EXPECT_TRUE(a.write(vm, "vda", 3, 4, world.next_stamp()));
        const auto common = world.chance().id<SnapshotId>();
        a.queue("snapshot_create", vm, "snapshot",
                {{"snapshot", common.text()}, {"name", "common"}, {"freeze", true}});
        a.queue("send", vm, "send", {{"snapshot", common.text()}, {"peer", b.id().text()}});
        a.run_all();
        world.connected = false;
        world.promoted.insert(vm);
        b.queue("promote", vm, "promote", {{"snapshot", common.text()}, {"start", true}});
        b.run_all();
        EXPECT_TRUE(a.write(vm, "vda", 20, 4, world.next_stamp()));
        EXPECT_TRUE(a.write(vm, "vdb", 9, 1, world.next_stamp()));
        EXPECT_TRUE(b.write(vm, "vda", 40, 4, world.next_stamp()));
        world.connected = true;
        EXPECT_TRUE(a.contact(b));
        EXPECT_EQ(ownership().phase, Phase::superseded);
        written = a.hypervisor().images(vm);
        world.recorded()[fork_snapshot] = written;  // what the new VM must have
    }

    TaskId resolve(bool start = false) {
        return *a.queue("resolve", vm, "resolve",
                        {{"keep", "there"},
                         {"as_new_vm", kName},
                         {"new_vm", fork.text()},
                         {"new_snapshot", fork_snapshot.text()},
                         {"start_new_vm", start}});
    }
    // Until nothing is due any more, and what waits has been waited for.
    void work() {
        for (int round = 0; round < 12; ++round) {
            a.start();
            b.start();
            a.run_all();
            b.run_all();
            check_promises(world);
            world.clock().sleep(Duration(400'000));
        }
    }
    model::Ownership ownership() { return a.catalog().vm(vm)->ownership; }
    std::vector<model::Snapshot> branches() {
        std::vector<model::Snapshot> found;
        for (const auto& hold : must(a.catalog().holds(vm)))
            if (hold.kind == model::HoldKind::branch)
                found.push_back(*a.catalog().snapshot(hold.snapshot));
        return found;
    }
    bool has_machine(const VmId& id) {
        return std::ranges::any_of(a.machines(), [&](const auto& seen) { return seen.id == id; });
    }
    void expect_new_vm() {
        EXPECT_EQ(ownership().phase, Phase::replica);
        EXPECT_EQ(ownership().owner, b.id());
        EXPECT_FALSE(has_machine(vm));
        EXPECT_TRUE(has_machine(fork));
        const auto made = must(a.catalog().find_vm(fork));
        ASSERT_TRUE(made);
        EXPECT_EQ(made->ownership, (model::Ownership{1, a.id(), Phase::owned}));
        EXPECT_EQ(made->name, kName);
        EXPECT_EQ(a.hypervisor().images(fork), written);
        EXPECT_THAT(branches(), SizeIs(1));
        for (const auto& disk : made->disks)
            for (const auto& other : must(a.catalog().vm(vm)).disks)
                EXPECT_NE(disk.volume, other.volume) << "a disk of both VMs";
    }
    // Nothing of a new VM, and the line here as it was.
    void expect_untouched() {
        EXPECT_EQ(ownership().phase, Phase::superseded);
        EXPECT_TRUE(has_machine(vm));
        EXPECT_EQ(a.hypervisor().images(vm), written);
        EXPECT_FALSE(*a.catalog().find_vm(fork));
        EXPECT_FALSE(has_machine(fork));
        EXPECT_THAT(*a.catalog().transfers(), IsEmpty());
        EXPECT_EQ(a.pool().volumes().size(), 2U);
        for (const auto& hold : must(a.catalog().holds(vm)))
            EXPECT_NE(hold.kind, model::HoldKind::transfer);
    }
    // Too little for a copy of the disks that were written to.
    void leave_little_room() {
        const auto capacity = *a.pool().capacity();
        a.pool().set_capacity(capacity.total - capacity.free + base::KiB(8));
    }
    std::string outcome(const TaskId& id) {
        const auto task = a.task(id);
        return std::string(model::to_string(task.state)) + " " + task.error;
    }

    World world;
    Cluster& a = world.a();
    Cluster& b = world.b();
    VmId vm = a.create_vm("web1", {kDisk, kDisk});
    VmId fork = world.chance().id<VmId>();
    SnapshotId fork_snapshot = world.chance().id<SnapshotId>();
    Images written;
};

class NewLine : public testing::TestWithParam<World::Heads>, protected Parted {
protected:
    NewLine() : Parted(1, GetParam()) {}
    void TearDown() override { expect_all_well(world); }
};
INSTANTIATE_TEST_SUITE_P(Heads, NewLine,
                         testing::Values(World::Heads::move_on, World::Heads::stay_in_place));

TEST_P(NewLine, has_what_was_written_here_alone_and_the_vm_itself_is_a_replica_again) {
    const auto task = resolve();
    work();
    ASSERT_EQ(outcome(task), "succeeded ");
    expect_new_vm();
    EXPECT_FALSE(a.hypervisor().runs(fork)) << "nobody asked for that";
}

TEST_P(NewLine, is_started_when_that_was_asked_for_and_runs_beside_the_owners) {
    const auto task = resolve(true);
    work();
    ASSERT_EQ(outcome(task), "succeeded ");
    expect_new_vm();
    EXPECT_TRUE(a.hypervisor().runs(fork));
    EXPECT_TRUE(b.hypervisor().runs(vm));
}

TEST_P(NewLine, depends_on_nothing_of_the_old_one) {
    const auto task = resolve();
    work();
    ASSERT_EQ(outcome(task), "succeeded ");
    for (const auto& hold : must(a.catalog().holds(vm)))
        if (hold.kind == model::HoldKind::branch) must(a.catalog().remove_hold(hold));
    a.queue("replica_remove", vm, "remove", {});
    work();
    EXPECT_FALSE(*a.catalog().find_vm(vm));
    EXPECT_EQ(a.pool().volumes().size(), 2U) << "only those of the new VM";
    EXPECT_EQ(a.hypervisor().images(fork), written);
}

TEST_P(NewLine, that_has_no_room_leaves_the_vm_superseded_until_there_is_some) {
    work();  // the branch is kept already
    leave_little_room();
    const auto kept = branches();
    const auto task = resolve();
    work();
    EXPECT_THAT(outcome(task), HasSubstr("failed"));
    EXPECT_EQ(a.task(task).error_kind, "no_space") << outcome(task);
    expect_untouched();
    EXPECT_EQ(branches(), kept);
    a.pool().set_capacity(base::GiB(1));
    ASSERT_TRUE(a.catalog().retry_task(task, world.clock().now()));
    work();
    ASSERT_EQ(outcome(task), "succeeded ");
    expect_new_vm();
}

TEST_P(NewLine, whose_name_is_taken_is_refused_before_anything_is_changed) {
    const auto snapshots = a.catalog().snapshots(vm)->size();
    (void)a.catalog().request_cancel((*a.catalog().tasks({vm, true, 10})).front().id,
                                     world.clock().now());  // the keeping of the branch
    a.run_all();
    a.hypervisor().add(VmId(base::uuid_from_random(7, 7)), kName, {});
    const auto task = resolve();
    work();
    EXPECT_EQ(a.task(task).error_kind, "refused") << outcome(task);
    EXPECT_THAT(outcome(task), HasSubstr("has a VM 'fork'"));
    EXPECT_EQ(a.catalog().snapshots(vm)->size(), snapshots);
    expect_untouched();
    ASSERT_TRUE(a.hypervisor().undefine(VmId(base::uuid_from_random(7, 7))));
    work();
}

// The keeping of the branch has made its overlays when a disk grows: it has to plan anew, and the
// resolve comes in between. Neither may wait for the other for good.
TEST_P(NewLine, and_the_keeping_of_the_branch_do_not_wait_for_each_other) {
    a.die_at("hypervisor.snapshot");
    a.run_all();
    ASSERT_TRUE(a.grow(vm, "vda", base::KiB(128)));
    written = a.hypervisor().images(vm);
    world.recorded()[fork_snapshot] = written;
    a.start();
    a.run_one();
    const auto task = resolve();
    work();
    ASSERT_EQ(outcome(task), "succeeded ");
    expect_new_vm();
}

enum class Moment { before, after };
enum class Room { plenty, none };

// Kills a's daemon at the nth call from the resolve on, for every n, before or after that call.
void cut_off_everywhere(Moment moment, Room room) {
    at_every_call(50, [&](unsigned nth) {
        Parted parted(3);
        auto& world = parted.world;
        auto& a = parted.a;
        if (room == Room::none) {
            parted.work();
            parted.leave_little_room();
        }
        a.die_at_nth_call(nth, moment == Moment::after);
        const auto task = parted.resolve(true);
        parted.work();
        const bool ended_before = a.waits_to_die();
        a.live_on();
        if (room == Room::none) {
            EXPECT_THAT(parted.outcome(task), HasSubstr("failed"));
            parted.expect_untouched();
            a.pool().set_capacity(base::GiB(1));
            must(a.catalog().retry_task(task, world.clock().now()));
            parted.work();
        }
        EXPECT_EQ(parted.outcome(task), "succeeded ");
        parted.expect_new_vm();
        EXPECT_TRUE(a.hypervisor().runs(parted.fork));
        settle(world);
        check_settled(world);
        EXPECT_THAT(world.broken_promises(), IsEmpty());
        return ended_before;
    });
}

TEST(NewLineCutOff, it_is_made_whatever_call_the_daemon_dies_before) {
    cut_off_everywhere(Moment::before, Room::plenty);
}

TEST(NewLineCutOff, it_is_made_whatever_call_the_daemon_dies_after) {
    cut_off_everywhere(Moment::after, Room::plenty);
}

TEST(NewLineCutOff, what_has_no_room_leaves_nothing_whatever_call_the_daemon_dies_before) {
    cut_off_everywhere(Moment::before, Room::none);
}

TEST(NewLineCutOff, what_has_no_room_leaves_nothing_whatever_call_the_daemon_dies_after) {
    cut_off_everywhere(Moment::after, Room::none);
}

TEST(NewLineCutOff, a_cancelled_one_leaves_nothing_or_is_whole_at_whatever_call_that_was) {
    at_every_call(0, [](unsigned nth) {
        Parted parted(3);
        const auto task = parted.resolve();
        parted.a.die_at_nth_call(nth, false);
        parted.a.run_all();
        const bool ended_before = parted.a.waits_to_die();
        parted.a.live_on();
        if (!ended_before)
            (void)parted.a.catalog().request_cancel(task, parted.world.clock().now());
        parted.work();
        if (parted.ownership().phase != Phase::superseded)
            parted.expect_new_vm();
        else if (*parted.a.catalog().find_vm(parted.fork))  // whole before it was cancelled
            EXPECT_EQ(parted.a.hypervisor().images(parted.fork), parted.written);
        else
            parted.expect_untouched();
        settle(parted.world);
        check_settled(parted.world);
        EXPECT_THAT(parted.world.broken_promises(), IsEmpty());
        return ended_before;
    });
}

}  // namespace
}  // namespace understudy::sim
