// Every bug that a seed has found, told without chance.
#include "all_well.hpp"
#include "play.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace understudy::sim {
namespace {

using testing::IsEmpty;

constexpr ByteSize kDisk = base::KiB(256);

class Scenario : public testing::Test {
protected:
    Scenario() { spdlog::set_level(spdlog::level::off); }

    void TearDown() override { expect_all_well(world); }

    TaskId snapshot(Cluster& on, const VmId& machine, const std::string& name) {
        last_ = world.chance().id<SnapshotId>();
        return *on.queue("snapshot_create", machine, "snapshot " + name,
                         {{"snapshot", last_.text()}, {"name", name}, {"freeze", true}});
    }
    TaskId send(Cluster& from, const VmId& machine, const SnapshotId& id) {
        return *from.queue("send", machine, "send",
                           {{"snapshot", id.text()}, {"peer", world.other(from).id().text()}});
    }
    TaskId remove(Cluster& on, const VmId& machine, const SnapshotId& id) {
        return *on.queue("snapshot_remove", machine, "remove", {{"snapshots", {id.text()}}});
    }
    TaskId roll_back(Cluster& on, const VmId& machine, const SnapshotId& id) {
        return *on.queue("snapshot_rollback", machine, "rollback", {{"snapshot", id.text()}});
    }
    TaskId promote(Cluster& on, const VmId& machine, const SnapshotId& id, bool owner_may_answer) {
        world.promoted.insert(machine);  // the owner may live
        return *on.queue(
            "promote", machine, "promote",
            {{"snapshot", id.text()}, {"start", true}, {"owner_may_answer", owner_may_answer}});
    }
    SnapshotId taken(Cluster& on, const VmId& machine, const std::string& name) {
        const auto task = snapshot(on, machine, name);
        on.run_all();
        EXPECT_EQ(on.task(task).error, "");
        return last_;
    }
    void sent(Cluster& from, const VmId& machine, const SnapshotId& id) {
        const auto task = send(from, machine, id);
        from.run_all();
        EXPECT_EQ(from.task(task).error, "");
    }
    static std::string state(Cluster& on, const TaskId& id) {
        return on.task(id).state == model::TaskState::succeeded ? "succeeded" : on.task(id).error;
    }
    static bool lists(Cluster& on, const SnapshotId& id) {
        return on.catalog().find_snapshot(id)->has_value();
    }
    // Long enough for what is planned again, or waits for another task.
    void restart(Cluster& cluster) {
        cluster.start();
        for (int attempt = 0; attempt < 5; ++attempt) {
            world.clock().sleep(Duration(400'000));
            cluster.run_all();
        }
    }

    World world{1};
    Cluster& a = world.a();
    Cluster& b = world.b();
    VmId vm = a.create_vm("web1", {kDisk, kDisk});
    SnapshotId last_;
};

TEST_F(Scenario, a_target_lets_go_of_the_base_when_the_increment_is_published) {
    const auto first = taken(a, vm, "first");
    sent(a, vm, first);
    a.write(vm, "vda", 3, 5, 77);
    sent(a, vm, taken(a, vm, "second"));
    const auto removed = remove(b, vm, first);
    b.run_all();
    EXPECT_EQ(state(b, removed), "succeeded");
}

TEST_F(Scenario, a_target_that_dies_right_after_publishing_holds_what_it_published) {
    const auto first = taken(a, vm, "first");
    sent(a, vm, first);
    const auto second = taken(a, vm, "second");
    send(a, vm, second);
    b.die_at("catalog.publish_snapshot", true);
    a.run_all();
    ASSERT_FALSE(b.alive());
    b.start();
    EXPECT_TRUE(lists(b, second));
    remove(b, vm, second);
    b.run_all();
    EXPECT_TRUE(lists(b, second)) << "it is the newest that both have";
}

TEST_F(Scenario, a_disk_that_grew_while_the_daemon_was_down_does_not_shrink_again) {
    snapshot(a, vm, "first");
    a.die_at("hypervisor.snapshot");
    a.run_all();
    ASSERT_TRUE(a.grow(vm, "vda", base::KiB(512)));
    restart(a);
    EXPECT_TRUE(lists(a, last_));
}

TEST_F(Scenario, a_disk_that_comes_before_the_moment_is_in_the_snapshot) {
    snapshot(a, vm, "first");
    a.die_at("hypervisor.snapshot");
    a.run_all();
    a.plug(vm, "vdc", kDisk);
    restart(a);
    EXPECT_EQ(a.catalog().snapshot(last_)->disks.size(), 3U);
}

TEST_F(Scenario, a_disk_that_goes_right_after_the_moment_is_in_the_snapshot) {
    snapshot(a, vm, "first");
    a.die_at("hypervisor.snapshot", true);
    a.run_all();
    a.unplug(vm, "vdb");
    restart(a);
    EXPECT_EQ(a.catalog().snapshot(last_)->disks.size(), 2U);
}

TEST_F(Scenario, a_snapshot_that_is_cancelled_after_its_moment_is_complete) {
    const auto task = snapshot(a, vm, "first");
    const auto id = last_;
    a.die_at("hypervisor.snapshot", true);
    a.run_all();
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    restart(a);
    EXPECT_TRUE(lists(a, id));
    taken(a, vm, "second");
}

TEST_F(Scenario, a_retry_of_a_snapshot_that_its_cancel_completed_leaves_the_vm_where_it_is) {
    const auto task = snapshot(a, vm, "first");
    a.die_at("hypervisor.snapshot", true);
    a.run_all();
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    restart(a);
    a.stop_vm(vm);
    taken(a, vm, "second");
    const auto before = a.hypervisor().disks(vm);
    ASSERT_TRUE(a.catalog().retry_task(task, world.clock().now()));
    a.run_all();
    EXPECT_EQ(state(a, task), "succeeded");
    const auto after = a.hypervisor().disks(vm);
    ASSERT_EQ(after.size(), before.size());
    for (std::size_t i = 0; i < after.size(); ++i)
        EXPECT_EQ(after[i].source, before[i].source) << "switched back to a frozen layer";
}

TEST_F(Scenario, a_switch_that_libvirt_has_no_record_of_loses_nothing_of_what_is_written_to_it) {
    world.weather.forgets = 1;
    for (const bool cancelled : {false, true}) {
        const auto task = snapshot(a, vm, cancelled ? "second" : "first");
        a.die_at("hypervisor.snapshot", true);
        a.run_all();
        a.write(vm, "vda", 3, 4, world.next_stamp());
        if (cancelled) {
            ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
        }
        restart(a);
        EXPECT_EQ(lists(a, last_), !cancelled);
        a.write(vm, "vda", 5, 1, world.next_stamp());  // hides some of that
        check_promises(world);
    }
    taken(a, vm, "third");
}

TEST_F(Scenario, cut_off_while_such_a_switch_is_settled_nothing_is_lost_either) {
    world.weather.forgets = 1;
    world.weather.forgets_for_good = true;
    unsigned nth = 0;
    for (bool reached = true; reached;) {
        snapshot(a, vm, "snapshot " + std::to_string(++nth));
        a.die_at("hypervisor.snapshot", true);
        a.run_all();
        a.write(vm, "vda", nth % 8, 3, world.next_stamp());
        a.start();
        a.die_at_nth_call(nth, nth % 2 == 0);
        a.run_all();
        reached = !a.waits_to_die();
        a.live_on();
        a.write(vm, "vda", nth % 8 + 1, 1, world.next_stamp());
        if (nth % 3 == 0) a.stop_vm(vm);
        restart(a);
        EXPECT_TRUE(lists(a, last_)) << nth;
        if (nth % 3 == 0) {
            ASSERT_TRUE(a.start_vm(vm));
        }
        check_promises(world);
        ASSERT_THAT(world.broken_promises(), IsEmpty()) << nth;
    }
    EXPECT_GT(nth, 10U);
}

TEST_F(Scenario, what_went_to_an_overlay_before_the_power_failed_is_kept_where_it_cannot_be_used) {
    world.weather.forgets = 1;
    world.weather.forgets_for_good = true;
    for (const bool grows : {false, true}) {
        const auto task = snapshot(a, vm, grows ? "second" : "first");
        a.die_at("hypervisor.snapshot", true);
        a.run_all();
        ASSERT_TRUE(a.write(vm, "vda", 3, 4, world.next_stamp()));
        a.stop_vm(vm);
        if (grows) {  // its overlay does not fit any more
            a.hypervisor().images(vm) = world.recorded().at(last_);
            ASSERT_TRUE(a.grow(vm, "vdb", base::KiB(512)));
        }
        a.start();
        EXPECT_FALSE(a.start_by_hand(vm)) << "without what it wrote last";
        restart(a);
        EXPECT_TRUE(lists(a, last_));
        std::string log;
        const auto lines = *a.catalog().task_log(task, 0, 1000);
        for (const auto& line : lines) log += line.text + "\n";
        EXPECT_EQ(log.contains("it is kept as"), grows) << log;
        EXPECT_TRUE(a.start_by_hand(vm));
        check_promises(world);
    }
}

TEST_F(Scenario, a_cancelled_live_removal_ends_with_its_layers_merged) {
    const auto first = taken(a, vm, "first");
    a.write(vm, "vda", 3, 2, 17);
    const auto removed = remove(a, vm, first);
    a.die_at("hypervisor.merge");
    a.run_all();
    ASSERT_TRUE(a.catalog().request_cancel(removed, world.clock().now()));
    a.start();
    world.clock().sleep(Duration(400'000));
    a.run_one();
    EXPECT_TRUE(a.task(removed).ended_already()) << "the cancel must not end its own clean-up";
    EXPECT_EQ(a.task(removed).error.find("Clean-up"), std::string::npos) << a.task(removed).error;
}

TEST_F(Scenario, an_unplugged_disk_is_forgotten_with_its_last_snapshot) {
    const auto first = taken(a, vm, "first");
    a.unplug(vm, "vdb");
    taken(a, vm, "second");
    remove(a, vm, first);
    a.run_all();
    EXPECT_EQ(a.pool().volumes().size(), 1U);
}

TEST_F(Scenario, a_disk_in_the_place_of_an_unplugged_one_is_left_alone) {
    const auto first = taken(a, vm, "first");
    a.unplug(vm, "vdb");
    a.plug(vm, "vdb", kDisk);
    a.write(vm, "vdb", 1, 2, 5);
    a.stop_vm(vm);
    const auto removed = remove(a, vm, first);
    a.run_all();
    EXPECT_EQ(state(a, removed), "succeeded");
    EXPECT_EQ(a.hypervisor().disks(vm).back().source.location, "/disks/a/3");
}

TEST_F(Scenario, a_removal_cut_off_after_the_live_pivot_goes_on_with_the_vm_stopped) {
    const auto first = taken(a, vm, "first");
    const auto removed = remove(a, vm, first);
    a.die_at("hypervisor.merge", true);
    a.run_all();
    a.write(vm, "vda", 9, 1, 11);
    a.stop_vm(vm);
    restart(a);
    EXPECT_EQ(state(a, removed), "succeeded");
}

TEST_F(Scenario, a_vm_can_be_snapshotted_though_a_removal_found_no_room) {
    const auto first = taken(a, vm, "first");
    a.write(vm, "vda", 0, 64, 13);
    a.pool().set_capacity(base::KiB(36));
    const auto removed = remove(a, vm, first);
    a.run_all();
    EXPECT_EQ(a.task(removed).error_kind, "no_space");
    a.pool().set_capacity(base::GiB(1));
    a.stop_vm(vm);
    taken(a, vm, "second");
    if (a.task(removed).ended_already()) {
        ASSERT_TRUE(a.catalog().retry_task(removed, world.clock().now()));
    }
    restart(a);
    EXPECT_EQ(state(a, removed), "succeeded");
}

TEST_F(Scenario, a_release_cut_off_destroys_no_snapshot_that_is_held_again) {
    const auto first = taken(a, vm, "first");
    const auto task = *a.queue("release", vm, "release", {});
    a.die_at("catalog.remove_snapshot");
    a.run_all();
    a.start();
    ASSERT_TRUE(a.catalog().add_hold({first, model::HoldKind::transfer, "a send"}));
    world.clock().sleep(Duration(400'000));
    a.run_all();
    EXPECT_EQ(a.task(task).error_kind, "refused");
    check_promises(world);
    ASSERT_TRUE(a.catalog().remove_hold({first, model::HoldKind::transfer, "a send"}));
    ASSERT_TRUE(a.catalog().retry_task(task, world.clock().now()));
    a.run_all();
    EXPECT_EQ(state(a, task), "succeeded");
}

TEST_F(Scenario, a_release_that_is_cancelled_between_two_layers_leaves_a_vm_that_starts) {
    taken(a, vm, "first");
    a.stop_vm(vm);
    const auto task = *a.queue("release", vm, "release", {});
    a.die_at("pool.remove_snapshot", true);
    a.run_all();
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    restart(a);
    EXPECT_TRUE(a.start_vm(vm));
}

TEST_F(Scenario, an_older_snapshot_is_the_base_when_the_peer_has_lost_the_newer_one) {
    const auto first = taken(a, vm, "first");
    const auto second = taken(a, vm, "second");
    sent(a, vm, second);
    b.queue("replica_remove", vm, "remove replica", {});
    b.run_all();
    sent(a, vm, first);
    remove(a, vm, first);
    a.run_all();
    EXPECT_TRUE(lists(a, first)) << "it is all that both have";
}

TEST_F(Scenario, a_release_waits_for_a_snapshot_that_was_cut_off) {
    taken(a, vm, "first");
    const auto release = *a.queue("release", vm, "release", {});
    ASSERT_TRUE(a.catalog().request_cancel(release, world.clock().now()));
    snapshot(a, vm, "second");
    a.die_at("catalog.publish_snapshot");
    a.run_all();
    a.start();
    ASSERT_TRUE(a.catalog().retry_task(release, TimePoint{}));
    a.run_all();
    world.clock().sleep(Duration(400'000));
    a.run_all();
    EXPECT_EQ(state(a, release), "succeeded");
    for (const auto& disk : a.hypervisor().disks(vm))
        EXPECT_TRUE(disk.source.location.starts_with("/disks/")) << "on the file it had before";
}

TEST_F(Scenario, a_snapshot_planned_before_a_rollback_is_planned_again) {
    const auto first = taken(a, vm, "first");
    a.plug(vm, "vdc", kDisk);
    snapshot(a, vm, "second");
    const auto second = last_;
    a.die_at("hypervisor.snapshot");
    const auto task = roll_back(a, vm, first);
    a.run_one();
    a.stop_vm(vm);
    restart(a);
    EXPECT_TRUE(lists(a, second));
    EXPECT_TRUE(a.task(task).ended_already());
}

TEST_F(Scenario, a_rollback_waits_for_a_snapshot_that_was_cut_off_after_its_moment) {
    const auto first = taken(a, vm, "first");
    a.stop_vm(vm);
    roll_back(a, vm, first);
    a.run_all();
    snapshot(a, vm, "second");
    const auto second = last_;
    const auto again = roll_back(a, vm, first);
    a.die_at("hypervisor.set_disks", true);
    a.run_all();
    ASSERT_TRUE(a.grow(vm, "vda", base::KiB(512)));
    restart(a);
    EXPECT_TRUE(lists(a, second));
    EXPECT_EQ(state(a, again), "succeeded");
}

TEST_F(Scenario, a_snapshot_waits_for_a_rollback_that_was_cut_off_after_it_defined_the_vm) {
    const auto first = taken(a, vm, "first");
    a.stop_vm(vm);
    const auto task = roll_back(a, vm, first);
    snapshot(a, vm, "second");
    const auto second = last_;
    a.die_at("hypervisor.define", true);
    a.run_all();
    restart(a);
    EXPECT_EQ(state(a, task), "succeeded");
    EXPECT_TRUE(lists(a, second));
}

TEST_F(Scenario, a_snapshot_stays_while_a_rollback_to_it_is_half_done) {
    const auto first = taken(a, vm, "first");
    a.stop_vm(vm);
    const auto task = roll_back(a, vm, first);
    a.die_at("pool.activate", true);
    a.run_all();
    a.start();
    remove(a, vm, first);
    a.run_all();
    restart(a);
    EXPECT_EQ(state(a, task), "succeeded");
}

TEST_F(Scenario, an_owner_hears_of_a_promote_though_the_reply_to_its_only_send_was_lost) {
    const auto first = taken(a, vm, "first");
    send(a, vm, first);
    b.die_at("catalog.publish_snapshot", true);
    a.run_all();
    world.connected = false;
    b.start();
    promote(b, vm, first, false);
    b.run_all();
    EXPECT_TRUE(b.hypervisor().runs(vm));
    world.connected = true;
    ASSERT_TRUE(b.contact(a));
    EXPECT_EQ(a.catalog().vm(vm)->ownership.phase, model::Phase::superseded);
}

TEST_F(Scenario, a_replica_that_is_sent_again_while_the_old_one_goes_stays_whole) {
    const auto first = taken(a, vm, "first");
    sent(a, vm, first);
    b.queue("replica_remove", vm, "remove replica", {});
    b.die_at("pool.forget");
    b.run_all();
    b.start();
    const auto second = taken(a, vm, "second");
    send(a, vm, second);
    a.run_all();
    restart(b);
    restart(a);
    EXPECT_TRUE(lists(b, second));
}

TEST_F(Scenario, a_definition_follows_its_heads_though_a_look_at_one_failed) {
    const auto first = taken(a, vm, "first");
    taken(a, vm, "second");
    a.stop_vm(vm);
    const auto removed = remove(a, vm, first);
    a.die_at("hypervisor.set_disks");
    a.run_all();
    restart(a);
    EXPECT_EQ(state(a, removed), "succeeded");
    EXPECT_TRUE(a.start_vm(vm));
}

TEST_F(Scenario, a_rollback_forgets_disks_that_came_later) {
    const auto first = taken(a, vm, "first");
    a.plug(vm, "vdc", kDisk);
    const auto second = taken(a, vm, "second");
    remove(a, vm, second);
    a.run_all();
    a.stop_vm(vm);
    roll_back(a, vm, first);
    a.run_all();
    EXPECT_EQ(a.pool().volumes().size(), 2U);
}

TEST_F(Scenario, a_snapshot_whose_vm_is_superseded_after_the_moment_is_kept) {
    const auto first = taken(a, vm, "first");
    sent(a, vm, first);
    snapshot(a, vm, "second");
    const auto second = last_;
    a.die_at("catalog.publish_snapshot");
    a.run_all();
    promote(b, vm, first, true);
    b.run_all();
    a.start();
    ASSERT_TRUE(a.contact(b));
    a.run_all();
    EXPECT_TRUE(lists(a, second));
}

TEST_F(Scenario, what_came_of_a_vm_that_was_released_goes_in_the_end) {
    const auto first = taken(a, vm, "first");
    const auto cut_off = send(a, vm, first);
    b.die_at("catalog.publish_snapshot");
    a.run_all();
    b.start();
    ASSERT_TRUE(a.catalog().request_cancel(cut_off, world.clock().now())) << state(a, cut_off);
    world.connected = false;
    a.run_all();
    a.queue("release", vm, "release", {});
    a.run_all();
    world.connected = true;
    EXPECT_EQ(b.catalog().transfers()->size(), 1U);
    world.clock().sleep(std::chrono::hours(200));
    ASSERT_TRUE(b.operate([&](Daemon& here) {
        return here.receiving.give_up_older_than(world.clock().now() - std::chrono::hours(168));
    }));
    EXPECT_THAT(*b.catalog().transfers(), IsEmpty());
}

}  // namespace
}  // namespace understudy::sim
