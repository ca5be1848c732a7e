#include "play.hpp"

#include "actions.hpp"
#include "checks.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace understudy::sim {
namespace {

constexpr unsigned kActions = 70;
constexpr unsigned kRounds = 40;  // of what settling may take; each failed attempt waits a while

template <class T>
T got(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    return std::move(*result);
}

bool all_tasks_ended(World& world) {
    for (auto& cluster : world.clusters())
        if (!got(cluster->catalog().tasks({std::nullopt, true, 1})).empty()) return false;
    return true;
}

// What an operator does about a task that failed half-way: its text says so.
void retry_failed(World& world) {
    for (auto& cluster : world.clusters())
        for (const auto& task : got(cluster->catalog().tasks({})))
            if (task.state == model::TaskState::failed && task.memo.size() > 2 &&
                task.kind != "send") {
                world.say(*cluster, "retry: " + task.title);
                if (auto queued = cluster->catalog().retry_task(task.id, world.clock().now());
                    !queued)
                    throw std::runtime_error(queued.error().text());
            }
}

// Each hears of what the other did while it was away.
void exchange_news(World& world) {
    for (int round = 0; round < 2; ++round)
        for (auto& cluster : world.clusters())
            if (auto told = cluster->contact(world.other(*cluster)); !told)
                world.broken("promise 5: the peers do not talk: " + told.error().text());
}

// What nobody comes back to goes in the end.
void wait_long(World& world) {
    world.clock().sleep(std::chrono::hours(1000));
    for (auto& cluster : world.clusters()) {
        auto gone = cluster->operate([&](Daemon& here) {
            return here.receiving.give_up_older_than(world.clock().now() - std::chrono::hours(1));
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

World::Heads heads(bool in_place) {
    return in_place ? World::Heads::stay_in_place : World::Heads::move_on;
}

}  // namespace

void settle(World& world) {
    world.say("nothing goes wrong any more");
    world.weather = {};
    world.meanwhile = nullptr;
    world.connected = true;
    for (auto& cluster : world.clusters()) {
        cluster->pool().set_capacity(base::GiB(1));
        cluster->start();
    }
    exchange_news(world);
    run_until_idle(world);
    exchange_news(world);
}

Outcome play(std::uint64_t seed, Trace::Loud loud) {
    World world(seed, loud, heads(seed % 8 == 5 || seed % 8 == 7),
                heads(seed % 8 == 6 || seed % 8 == 7));
    Actions actions(world);
    actions.set_stage();
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
