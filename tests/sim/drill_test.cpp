// Drills of a replica: cut off at every call, beside all that may happen to the replica meanwhile.
#include "model/json.hpp"
#include "replica_stage.hpp"
#include "tasks/kinds.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::sim {
namespace {

using model::TaskState;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ByteSize kDisk = base::KiB(256);

// The first snapshot of a VM on `a` is on `b`.
class Drill : public ReplicaStage {
protected:
    Drill() : ReplicaStage(kDisk) {
        a.write(vm, "vda", 0, 8, world.next_stamp());
        first = taken("first");
        sent(first);
    }
    void TearDown() override {
        EXPECT_FALSE(waits_) << "what was to happen meanwhile did not";
        ReplicaStage::TearDown();
    }

    TaskId drill(const std::string& wait = "") {
        return *b.queue(tasks::kReplicaDrill, vm, "drill",
                        {{"snapshot", first.text()}, {"wait", wait}});
    }
    // With what waits for its next attempt.
    void work() {
        for (int round = 0; round < 8; ++round) {
            b.start();
            b.run_all();
            world.clock().sleep(Duration(400'000));
        }
    }
    // Once, at the nth pause of a drill that waits for its guest.
    void meanwhile(std::function<void()> act, int nth = 5) {
        waits_ = true;
        world.weather.meanwhile = 1;
        world.meanwhile = [this, act = std::move(act), nth]() mutable {
            if (!copy_runs() || --nth > 0) return;
            world.weather.meanwhile = 0;  // no more of it
            waits_ = false;
            act();
        };
    }
    bool copy_runs() {
        for (const auto& machine : b.machines())
            if (b.is_copy(machine.id) && machine.state == ports::VmState::running) return true;
        return false;
    }
    model::Drill result(const TaskId& id) {
        const auto task = b.task(id);
        EXPECT_EQ(task.state, TaskState::succeeded) << task.error;
        return nlohmann::json::parse(task.result).value("drill", model::Drill{});
    }
    void expect_nothing_left() {
        EXPECT_THAT(b.machines(), IsEmpty());
        for (const auto& volume : b.pool().volumes())
            EXPECT_THAT(b.pool().unfinished(volume), IsEmpty());
        const auto holds = b.catalog().holds(vm);
        for (const auto& hold : *holds) EXPECT_NE(hold.kind, model::HoldKind::drill);
    }
    bool told(const std::string& text) {
        const auto events = b.catalog().events(0, 1000);
        for (const auto& event : *events)
            if (event.text.find(text) != std::string::npos) return true;
        return false;
    }

private:
    bool waits_ = false;
};
INSTANTIATE_TEST_SUITE_P(Heads, Drill,
                         testing::Values(World::Heads::move_on, World::Heads::stay_in_place));

TEST_P(Drill, a_copy_that_boots_is_measured_recorded_and_gone) {
    const auto id = drill();
    b.run_all();
    const auto done = result(id);
    EXPECT_TRUE(done.passed) << done.outcome;
    EXPECT_GE(done.ready_ms, done.boot_ms);
    EXPECT_EQ(b.catalog().drills(vm)->front(), done);
    EXPECT_EQ(b.catalog().vm(vm)->ownership.phase, model::Phase::replica);
    expect_nothing_left();
}

TEST_P(Drill, a_copy_that_does_not_boot_is_a_failed_drill_and_no_failed_task) {
    b.hypervisor().set_boots(false);
    const auto id = drill();
    b.run_all();
    const auto done = result(id);
    EXPECT_FALSE(done.passed);
    EXPECT_THAT(done.outcome, HasSubstr("did not come within 3.0 s"));
    EXPECT_EQ(done.ready_ms, 0u);
    EXPECT_TRUE(told("FAILED"));
    expect_nothing_left();
}

TEST_P(Drill, cut_off_before_or_after_every_call_it_begins_anew_and_leaves_nothing) {
    for (const bool after : {false, true}) {
        bool died = true;
        for (unsigned nth = 1; died; ++nth) {
            const auto id = drill();
            b.die_at_nth_call(nth, after);
            b.run_all();
            died = !b.alive();
            b.live_on();
            work();
            ASSERT_TRUE(result(id).passed) << "cut off at call " << nth;
            expect_nothing_left();
            ASSERT_LT(nth, 1000u);
        }
    }
}

TEST_P(Drill, cancelled_after_it_was_cut_off_at_any_call_it_leaves_nothing) {
    bool died = true;
    for (unsigned nth = 1; died; ++nth) {
        const auto id = drill();
        b.die_at_nth_call(nth, true);
        b.run_all();
        died = !b.alive();
        b.live_on();
        b.start();
        const bool over = b.task(id).ended_already();
        EXPECT_TRUE(over || b.catalog().request_cancel(id, world.clock().now()));
        work();
        EXPECT_TRUE(b.task(id).ended_already());
        expect_nothing_left();
    }
}

TEST_P(Drill, cut_off_again_and_again_it_fails_in_the_end) {
    const auto id = drill();
    for (int i = 0; i < 3; ++i) {
        b.start();
        b.die_at("hypervisor.start", true);
        b.run_all();
        EXPECT_FALSE(b.alive());
    }
    work();
    EXPECT_EQ(b.task(id).state, TaskState::failed);
    EXPECT_THAT(b.task(id).error, HasSubstr("cut off 3 times"));
    expect_nothing_left();
}

TEST_P(Drill, an_increment_that_arrives_meanwhile_is_not_disturbed) {
    a.write(vm, "vda", 4, 8, world.next_stamp());
    const auto second = taken("second");
    const auto id = drill();
    meanwhile([&] {
        ASSERT_TRUE(copy_runs());
        for (const auto& machine : b.machines())
            EXPECT_TRUE(b.write(machine.id, "vda", 5, 4, world.next_stamp()));
        sent(second);
        ASSERT_TRUE(copy_runs());
    });
    b.hypervisor().set_boots(false);
    b.run_all();
    EXPECT_FALSE(result(id).passed);
    check_promises(world);
    expect_nothing_left();
}

TEST_P(Drill, two_drills_of_one_vm_never_share_a_disk) {
    const auto one = drill();
    const auto other = drill();
    meanwhile([&] {
        b.run_one();  // the other one, beside it
        EXPECT_EQ(b.task(other).state, TaskState::queued);
        EXPECT_THAT(b.task(other).error, HasSubstr("'drill' is not finished"));
        check_promises(world);
    });
    work();
    EXPECT_TRUE(result(one).passed);
    EXPECT_TRUE(result(other).passed);
    expect_nothing_left();
}

TEST_P(Drill, a_promote_does_not_wait_for_it_and_ends_it) {
    world.promoted.insert(vm);
    b.hypervisor().set_boots(false);
    const auto id = drill();
    meanwhile([&] {
        const auto task = b.queue("promote", vm, "promote",
                                  {{"snapshot", first.text()}, {"owner_may_answer", true}});
        b.run_one();
        EXPECT_EQ(b.task(*task).state, TaskState::succeeded) << b.task(*task).error;
        EXPECT_TRUE(b.hypervisor().runs(vm));
    });
    work();
    EXPECT_EQ(b.task(id).state, TaskState::cancelled);
    EXPECT_EQ(b.machines().size(), 1u);
}

TEST_P(Drill, a_removal_of_the_replica_ends_it_first) {
    b.hypervisor().set_boots(false);
    const auto id = drill();
    std::optional<TaskId> removal;
    meanwhile([&] {
        removal = b.queue("replica_remove", vm, "remove", {});
        b.run_one();
        EXPECT_TRUE(*b.catalog().find_vm(vm)) << "while the copy runs";
    });
    work();
    EXPECT_EQ(b.task(id).state, TaskState::cancelled);
    EXPECT_EQ(b.task(*removal).state, TaskState::succeeded) << b.task(*removal).error;
    EXPECT_THAT(b.machines(), IsEmpty());
    EXPECT_THAT(b.pool().volumes(), IsEmpty());
}

TEST_P(Drill, a_repair_waits_for_it) {
    const auto id = drill();
    std::optional<TaskId> repair;
    meanwhile([&] {
        repair = b.queue(
            tasks::kReplicaRepair, vm, "repair",
            {{"snapshot", first.text()},
             {"ranges", {{{"target", "vda"}, {"offset", 0}, {"length", 4096}, {"why", ""}}}}});
        b.run_one();
        EXPECT_EQ(b.task(*repair).state, TaskState::queued);
        EXPECT_THAT(b.task(*repair).error, HasSubstr("'drill' is not finished"));
    });
    work();
    EXPECT_TRUE(result(id).passed);
    EXPECT_EQ(b.task(*repair).state, TaskState::succeeded) << b.task(*repair).error;
}

TEST_P(Drill, of_a_vm_that_is_owned_here_is_refused) {
    const auto id = *a.queue(tasks::kReplicaDrill, vm, "drill", {{"snapshot", first.text()}});
    a.run_all();
    EXPECT_EQ(a.task(id).error_kind, "refused");
}

}  // namespace
}  // namespace understudy::sim
