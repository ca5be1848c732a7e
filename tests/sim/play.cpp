#include "play.hpp"

#include "actions.hpp"
#include "base/must_test.hpp"
#include "checks.hpp"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

constexpr unsigned kActions = 70;
constexpr unsigned kRounds = 40;  // of what settling may take; each failed attempt waits a while

bool all_tasks_ended(World& world) {
    for (auto& cluster : world.clusters())
        if (!must(cluster->catalog().tasks({std::nullopt, true, 1})).empty()) return false;
    return true;
}

// What an operator does about a task that failed half-way: its text says so.
void retry_failed(World& world) {
    for (auto& cluster : world.clusters())
        for (const auto& task : must(cluster->catalog().tasks({})))
            if (task.state == model::TaskState::failed && task.memo.size() > 2 &&
                task.kind != "send") {
                world.say(*cluster, "retry: " + task.title);
                must(cluster->catalog().retry_task(task.id, cluster->clock().now()));
            }
}

// What nobody comes back to goes in the end.
void wait_long(World& world) {
    world.clock().sleep(std::chrono::hours(1000));
    for (auto& cluster : world.clusters()) {
        auto gone = cluster->operate([&](Daemon& here) {
            return here.receiving.give_up_older_than(cluster->clock().now() -
                                                     std::chrono::hours(1));
        });
        if (!gone) world.broken("promise 5: an old transfer stays: " + gone.error().text());
    }
}

void run_until_idle(World& world) {
    for (unsigned round = 0; round < kRounds && !all_tasks_ended(world); ++round) {
        for (auto& cluster : world.clusters()) cluster->run_all();
        check_promises(world);
        if (!world.broken_promises().empty()) return;
        world.clock().sleep(Duration(300'000));
    }
}

// Each kind of storage on each side, and three clusters now and then.
std::vector<World::Heads> heads_of(std::uint64_t seed) {
    using Heads = World::Heads;
    std::vector<Heads> heads{
        seed % 8 == 5 || seed % 8 == 7 ? Heads::stay_in_place : Heads::move_on,
        seed % 8 == 6 || seed % 8 == 7 ? Heads::stay_in_place : Heads::move_on};
    if (seed % 4 == 3) heads.push_back(Heads::move_on);
    return heads;
}

}  // namespace

void settle(World& world) {
    world.say("nothing goes wrong any more");
    world.weather = {};
    world.meanwhile = nullptr;
    world.connected = true;
    world.cut.clear();
    for (auto& cluster : world.clusters()) {
        cluster->pool().set_capacity(base::GiB(1));
        cluster->start();
    }
    while (world.has_late()) world.deliver_late();
    world.exchange_news();
    run_until_idle(world);
    world.exchange_news();
    if (world.broken_promises().empty()) check_superseded_stand_still(world);
}

Outcome play(std::uint64_t seed, Trace::Loud loud) {
    World world(seed, loud, heads_of(seed));
    const auto days = seed % 2 == 1 ? Actions::Days::bad : Actions::Days::good;
    Actions actions(world, days);
    actions.set_stage();
    if (days == Actions::Days::bad) actions.replicate();
    actions.set_weather();
    world.meanwhile = [&] { actions.small_action(); };
    const auto& broken = world.broken_promises();
    for (unsigned i = 0; i < kActions && broken.empty(); ++i) {
        actions.some_action();
        check_promises(world);
    }
    if (broken.empty()) settle(world);
    if (broken.empty()) actions.resolve_all();
    if (broken.empty()) run_until_idle(world);
    if (broken.empty()) actions.send_everything();
    if (broken.empty()) retry_failed(world);
    if (broken.empty()) run_until_idle(world);
    if (broken.empty()) wait_long(world);
    if (broken.empty()) check_promises(world);
    if (broken.empty()) check_settled(world);
    return {broken, world.trace().hash(), world.trace().calls()};
}

}  // namespace understudy::sim
