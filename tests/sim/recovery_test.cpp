// Who runs a VM: handovers cut off at every call, promotes while the owner lives, and the way home.
#include "all_well.hpp"
#include "every_call.hpp"
#include "model/json.hpp"
#include "play.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/owners/take_over.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace understudy::sim {
namespace {

using model::Phase;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ByteSize kDisk = base::KiB(64);

// Daemons work at the same time: what one waits for, the other does.
void work_side_by_side(World& world) {
    world.weather.meanwhile = 1;
    world.meanwhile = [&world] {
        for (auto& cluster : world.clusters())
            if (!cluster->busy()) cluster->run_one();
    };
}

// Two clusters, and a VM that runs on `a` and has written.
class Recovery : public testing::Test {
protected:
    explicit Recovery(std::uint64_t seed = 1) : world(seed) {
        spdlog::set_level(spdlog::level::off);
        a.start();
        b.start();
        write(a, 3);
        work_side_by_side(world);
    }
    void TearDown() override { expect_all_well(world); }

    void write(Cluster& on, std::uint64_t sector) {
        ASSERT_TRUE(on.write(vm, "vda", sector, 4, world.next_stamp()));
    }
    TaskId move(Cluster& from) {
        return *from.queue("move", vm, "move",
                           {{"peer", world.other(from).id().text()}, {"limit_ms", 1000}});
    }
    Phase phase(Cluster& on) { return on.catalog().vm(vm)->ownership.phase; }
    bool runs(Cluster& on) {
        for (const auto& machine : on.machines())
            if (machine.id == vm) return machine.state == ports::VmState::running;
        return false;
    }
    std::string outcome(Cluster& on, const TaskId& id) {
        const auto task = on.task(id);
        return std::string(model::to_string(task.state)) + " " + task.error;
    }
    // Both work until nothing is due any more, and what waits has been waited for.
    void work() {
        for (int round = 0; round < 12; ++round) {
            a.start();
            b.start();
            a.run_all();
            b.run_all();
            world.clock().sleep(Duration(400'000));
        }
    }
    void exchange() {
        ASSERT_TRUE(a.contact(b));
        ASSERT_TRUE(b.contact(a));
    }
    void moved(Cluster& from) {
        const auto task = move(from);
        from.run_all();
        work();
        ASSERT_EQ(outcome(from, task), "succeeded ");
        EXPECT_FALSE(runs(from));
        EXPECT_TRUE(runs(world.other(from)));
    }
    // Each runs it, and each believes to own it, as after a promote in a partition.
    void part() {
        const auto id = world.chance().id<SnapshotId>();
        a.queue("snapshot_create", vm, "snapshot",
                {{"snapshot", id.text()}, {"name", "common"}, {"freeze", true}});
        a.queue("send", vm, "send", {{"snapshot", id.text()}, {"peer", b.id().text()}});
        a.run_all();
        world.connected = false;
        world.promoted.insert(vm);
        b.queue("promote", vm, "promote", {{"snapshot", id.text()}, {"start", true}});
        b.run_all();
        ASSERT_TRUE(runs(b));
        write(a, 20);
        write(b, 40);
        world.connected = true;
    }
    TaskId resolve(Cluster& on, const std::string& keep) {
        return *on.queue("resolve", vm, "resolve", {{"keep", keep}, {"start", true}});
    }
    std::vector<std::string> branches(Cluster& on) {
        std::vector<std::string> names;
        const auto holds = on.catalog().holds(vm);
        for (const auto& hold : *holds)
            if (hold.kind == model::HoldKind::branch)
                names.push_back(on.catalog().snapshot(hold.snapshot)->name);
        return names;
    }

    World world;
    Cluster& a = world.a();
    Cluster& b = world.b();
    VmId vm = a.create_vm("web1", {kDisk, kDisk});
};

TEST_F(Recovery, a_moved_vm_runs_there_with_all_it_wrote_and_is_a_replica_here) {
    moved(a);
    EXPECT_EQ(phase(a), Phase::replica);
    EXPECT_EQ(phase(b), Phase::owned);
    EXPECT_THAT(a.machines(), IsEmpty());
    EXPECT_THAT(branches(a), IsEmpty());
    EXPECT_EQ(b.catalog().vm(vm)->ownership.epoch, 2U);
}

TEST_F(Recovery, a_vm_that_was_off_is_moved_and_stays_off) {
    a.stop_vm(vm);
    const auto task = move(a);
    work();
    ASSERT_EQ(outcome(a, task), "succeeded ");
    EXPECT_EQ(phase(b), Phase::owned);
    EXPECT_FALSE(runs(b));
    EXPECT_FALSE(runs(a));
    EXPECT_TRUE(b.start_vm(vm));
}

TEST_F(Recovery, the_task_that_starts_a_vm_may_be_quicker_than_the_answer_that_it_is_taken) {
    const auto armed = b.serve([&](Daemon& there) -> Result<> {
        there.site.settings.at_point = [&](const std::optional<VmId>&, const std::string& point) {
            if (point != "take_over.record.before") return;
            const auto now = *there.site.catalog.vm(vm);  // as the task's step `own` does it
            EXPECT_TRUE(tasks::change_role(there.site, now, {2, b.id(), Phase::owned}, ""));
        };
        return {};
    });
    ASSERT_TRUE(armed);
    const auto task = move(a);
    a.run_all();
    work();
    ASSERT_EQ(outcome(a, task), "succeeded ");
    EXPECT_TRUE(runs(b));
    const auto log = *a.catalog().task_log(task, 0, 1000);
    for (const auto& line : log) EXPECT_THAT(line.text, testing::Not(HasSubstr("not taken over")));
}

TEST_F(Recovery, the_way_back_is_an_increment) {
    moved(a);
    write(b, 9);
    const auto back = move(b);
    b.run_all();
    work();
    ASSERT_EQ(outcome(b, back), "succeeded ");
    EXPECT_TRUE(runs(a));
    const auto log = *b.catalog().task_log(back, 0, 1000);
    for (const auto& line : log) EXPECT_THAT(line.text, testing::Not(HasSubstr("full:")));
}

TEST_F(Recovery, a_target_that_does_not_answer_leaves_the_vm_here_until_it_was_asked) {
    world.connected = false;
    const auto task = move(a);
    a.run_all();
    EXPECT_TRUE(runs(a));
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    work();
    EXPECT_THAT(outcome(a, task), HasSubstr("cancelled"));
    EXPECT_TRUE(runs(a));
    world.connected = true;
}

TEST_F(Recovery, a_handover_whose_reply_is_lost_is_asked_about_and_never_started_here) {
    const auto task = move(a);
    b.die_at("catalog.set_ownership", true);
    a.run_all();
    EXPECT_EQ(phase(a), Phase::handing_over);
    EXPECT_FALSE(a.start_vm(vm));
    work();
    EXPECT_EQ(outcome(a, task), "succeeded ");
    EXPECT_TRUE(runs(b));
}

TEST_F(Recovery, a_move_cancelled_between_its_record_and_its_first_question_comes_back) {
    const auto task = move(a);
    a.die_at("catalog.set_ownership", true);
    a.run_all();
    ASSERT_FALSE(a.alive());
    ASSERT_EQ(phase(a), Phase::handing_over);
    a.start();
    world.connected = false;
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    a.run_all();
    EXPECT_EQ(phase(a), Phase::handing_over) << "nobody was asked";
    world.connected = true;
    work();
    EXPECT_THAT(outcome(a, task), HasSubstr("cancelled"));
    EXPECT_EQ(phase(a), Phase::owned);
    EXPECT_TRUE(runs(a));
    EXPECT_FALSE(runs(b));
}

TEST_F(Recovery, a_handover_that_was_not_taken_comes_back_when_it_is_cancelled) {
    const auto task = move(a);
    b.die_at("catalog.add_task");  // the one that would start it there
    a.run_all();
    ASSERT_EQ(phase(a), Phase::handing_over);
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    work();
    EXPECT_THAT(outcome(a, task), HasSubstr("cancelled"));
    EXPECT_EQ(phase(a), Phase::owned);
    EXPECT_EQ(phase(b), Phase::replica);
    EXPECT_TRUE(runs(a));
    EXPECT_FALSE(runs(b));
    // The offer that was taken back comes once more.
    const ports::Handover late{
        vm, {2, b.id(), Phase::handing_over}, a.catalog().snapshots(vm)->back().id};
    const auto taken =
        b.serve([&](Daemon& there) { return tasks::take_over(there.site, a.id(), late); });
    EXPECT_FALSE(taken);
    EXPECT_EQ(phase(b), Phase::replica);
}

TEST_F(Recovery, a_handover_that_was_taken_does_not_come_back) {
    const auto task = move(a);
    b.die_at("catalog.set_ownership", true);
    a.run_all();
    ASSERT_TRUE(a.catalog().request_cancel(task, world.clock().now()));
    work();
    EXPECT_EQ(phase(a), Phase::replica);
    EXPECT_EQ(phase(b), Phase::owned);
    EXPECT_FALSE(runs(a));
}

TEST_F(Recovery, a_vm_given_away_to_a_cluster_that_is_lost_is_taken_back_by_its_operator) {
    const auto task = move(a);
    b.die_at("catalog.add_task");
    a.run_all();
    ASSERT_EQ(phase(a), Phase::handing_over);
    world.connected = false;
    const auto refused = resolve(a, "here");
    a.run_all();
    EXPECT_THAT(outcome(a, refused), HasSubstr("does not answer"));
    const auto forced = *a.queue("resolve", vm, "resolve",
                                 {{"keep", "here"}, {"start", true}, {"even_if_owner_runs", true}});
    work();
    EXPECT_EQ(outcome(a, forced), "succeeded ");
    EXPECT_EQ(phase(a), Phase::owned);
    EXPECT_TRUE(runs(a));
    EXPECT_THAT(outcome(a, task), HasSubstr("own again"));
    world.connected = true;
}

TEST_F(Recovery, what_the_target_refuses_stays_here_and_runs) {
    b.hypervisor().set_adapt_issues({{model::Severity::blocks, "tpm", "no TPM there"}});
    const auto task = move(a);
    work();
    EXPECT_THAT(outcome(a, task), HasSubstr("no TPM there"));
    EXPECT_EQ(phase(a), Phase::owned);
    EXPECT_TRUE(runs(a));
    b.hypervisor().set_adapt_issues({});
}

enum class Doomed { source, target };
enum class Moment { before, after };

// Kills the daemon of `doomed` at its nth call of a move, for every n, before or after that call.
void cut_off_everywhere(Doomed who, Moment moment) {
    spdlog::set_level(spdlog::level::off);
    at_every_call(100, [&](unsigned nth) {
        World world(3);
        auto& a = world.a();
        auto& b = world.b();
        a.start();
        b.start();
        work_side_by_side(world);
        const auto vm = a.create_vm("web1", {kDisk});
        a.write(vm, "vda", 3, 4, world.next_stamp());
        const auto task = *a.queue("move", vm, "move", {{"peer", b.id().text()}});
        auto& doomed = who == Doomed::source ? a : b;
        doomed.die_at_nth_call(nth, moment == Moment::after);
        for (int round = 0; round < 14; ++round) {
            a.start();
            b.start();
            a.run_all();
            check_promises(world);
            b.run_all();
            check_promises(world);
            world.clock().sleep(Duration(400'000));
        }
        const auto outcome = a.task(task);
        // A target that is down for long is not seen to run the VM, and runs it all the same.
        EXPECT_TRUE(outcome.state == model::TaskState::succeeded ||
                    (who == Doomed::target && outcome.step == "see_it_run"))
            << outcome.error;
        int owners = 0;
        for (auto* cluster : {&a, &b})
            owners += cluster->catalog().vm(vm)->ownership.phase == Phase::owned ? 1 : 0;
        EXPECT_EQ(owners, 1);
        EXPECT_TRUE(b.hypervisor().runs(vm));
        EXPECT_FALSE(a.hypervisor().runs(vm));
        const bool ended_before = doomed.waits_to_die();
        doomed.live_on();
        settle(world);
        check_settled(world);
        EXPECT_THAT(world.broken_promises(), IsEmpty());
        return ended_before;
    });
}

TEST(RecoveryCutOff, a_move_survives_the_sources_death_before_every_call) {
    cut_off_everywhere(Doomed::source, Moment::before);
}

TEST(RecoveryCutOff, a_move_survives_the_sources_death_after_every_call) {
    cut_off_everywhere(Doomed::source, Moment::after);
}

TEST(RecoveryCutOff, a_move_survives_the_targets_death_before_every_call) {
    cut_off_everywhere(Doomed::target, Moment::before);
}

TEST(RecoveryCutOff, a_move_survives_the_targets_death_after_every_call) {
    cut_off_everywhere(Doomed::target, Moment::after);
}

TEST_F(Recovery, a_superseded_vm_stands_still_and_what_it_wrote_alone_is_kept) {
    part();
    exchange();
    EXPECT_EQ(phase(a), Phase::superseded);
    EXPECT_FALSE(runs(a));
    work();
    ASSERT_EQ(branches(a).size(), 1U);
    EXPECT_THAT(branches(b), IsEmpty());
    const auto branch = a.catalog().snapshots(vm)->back();
    const auto removal =
        *a.queue("snapshot_remove", vm, "remove", {{"snapshots", {branch.id.text()}}});
    work();
    EXPECT_THAT(outcome(a, removal), HasSubstr("written here alone"));
}

TEST_F(Recovery, the_failback_after_resolving_is_an_increment_and_loses_neither_line) {
    part();
    exchange();
    work();
    const auto resolved = resolve(a, "there");
    work();
    ASSERT_EQ(outcome(a, resolved), "succeeded ");
    EXPECT_EQ(phase(a), Phase::replica);
    EXPECT_EQ(branches(a).size(), 1U);
    moved(b);
    EXPECT_TRUE(runs(a));
    EXPECT_EQ(branches(a).size(), 1U) << "until the operator lets go of it";
}

TEST_F(Recovery, keeping_what_is_here_supersedes_the_other_line_which_is_kept_there) {
    part();
    exchange();
    work();
    const auto refused = resolve(a, "here");
    work();
    EXPECT_THAT(outcome(a, refused), HasSubstr("running"));
    b.stop_vm(vm);
    const auto resolved = resolve(a, "here");
    work();
    ASSERT_EQ(outcome(a, resolved), "succeeded ");
    EXPECT_TRUE(runs(a));
    EXPECT_THAT(branches(a), IsEmpty());
    exchange();
    work();
    EXPECT_EQ(phase(b), Phase::superseded);
    EXPECT_EQ(branches(b).size(), 1U);
    const auto settled = resolve(b, "there");
    work();
    EXPECT_EQ(outcome(b, settled), "succeeded ");
    moved(a);
}

}  // namespace
}  // namespace understudy::sim
