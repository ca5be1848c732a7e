#include "actions.hpp"
#include "base/must_test.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>

// What comes of a VM's owner: moves, promotes, resolves, drills; and the end, where all is well.

namespace understudy::sim {
std::optional<Actions::SeenAt> Actions::some_replica(unsigned older) {
    const auto replicas = known(model::Phase::replica);
    if (replicas.empty()) return std::nullopt;
    auto& chance = world_.chance();
    const auto& on = chance.pick(replicas);
    const auto snapshots = must(on.cluster->catalog().snapshots(on.vm));
    if (snapshots.empty()) return std::nullopt;
    return SeenAt{on, chance.one_in(older) ? chance.pick(snapshots) : snapshots.back()};
}

void Actions::promote() {
    const auto replica = some_replica(3);
    if (!replica) return;
    auto& chance = world_.chance();
    const auto& [on, snapshot] = *replica;
    if (chance.one_in(2)) {
        world_.connected = false;
        world_.say("the line is cut");
    }
    world_.promoted.insert(on.vm);
    on.cluster->queue("promote", on.vm, fmt::format("promote {}@{}", on.name, snapshot.name),
                      {{"snapshot", snapshot.id.text()},
                       {"start", !chance.one_in(4)},
                       {"owner_may_answer", chance.one_in(2)}});
}

void Actions::move() {
    const auto all = machines();
    if (all.empty()) return;
    const auto& on = world_.chance().pick(all);
    const auto known = must(on.cluster->catalog().find_vm(on.vm));
    if (known && known->ownership.phase != model::Phase::owned) return;
    if (world_.unplugged.contains(on.vm)) return;
    on.cluster->queue("move", on.vm, "move " + on.name,
                      {{"peer", world_.any_other(*on.cluster).id().text()},
                       {"start", !world_.chance().one_in(4)},
                       {"limit_ms", 1000},
                       {"force_off", true}});
}

std::optional<TaskId> Actions::queue_resolve(const Seen& on, bool here) {
    return on.cluster->queue("resolve", on.vm,
                             fmt::format("resolve {}, keep {}", on.name, here ? "here" : "there"),
                             {{"keep", here ? "here" : "there"}, {"start", true}});
}

void Actions::resolve() {
    const auto superseded = known(model::Phase::superseded);
    if (superseded.empty()) return;
    const auto& on = world_.chance().pick(superseded);
    if (!world_.unplugged.contains(on.vm)) queue_resolve(on, world_.chance().one_in(3));
}

// Keeping what is here supersedes the other side in turn, which is then the last one.
void Actions::resolve_all() {
    for (unsigned round = 0; round < world_.clusters().size(); ++round) {
        for (const auto& on : known(model::Phase::superseded)) {
            // A released VM is nobody's business any more: it may run there.
            if (world_.unplugged.contains(on.vm)) continue;
            const bool here = round == 0 && world_.chance().one_in(3) &&
                              !world_.released.contains(on.vm) &&
                              !on.cluster->hypervisor().disks(on.vm).empty();
            const auto record = must(on.cluster->catalog().vm(on.vm)).ownership;
            if (record.phase != model::Phase::superseded) continue;  // settled by another's
            auto* owner = world_.find(record.owner);
            if (here && owner->hypervisor().runs(on.vm)) owner->stop_vm(on.vm);
            succeeds(*on.cluster, queue_resolve(on, here));
            for (auto& cluster : world_.clusters()) cluster->run_all();
        }
        world_.exchange_news();
    }
    for (const auto& on : known(model::Phase::superseded))
        if (!world_.unplugged.contains(on.vm))
            world_.broken(
                fmt::format("promise 5: {} stays superseded on {}", on.name, on.cluster->name()));
}

// An operator tries it where the VM is not to run.
void Actions::start_elsewhere() {
    for (const auto& on : machines()) {
        const auto record = must(on.cluster->catalog().find_vm(on.vm));
        if (!record || record->ownership.phase == model::Phase::owned) continue;
        auto started = on.cluster->start_vm(on.vm);
        world_.say(*on.cluster, fmt::format("start {} all the same: {}", on.name,
                                            started ? "done" : started.error().text()));
    }
}

void Actions::late_message() {
    world_.deliver_late();
}

void Actions::replicate() {
    for (const auto& on : machines()) queue_snapshot(on);
    for (auto& cluster : world_.clusters()) cluster->run_all();
    for (const auto& on : known(model::Phase::owned)) {
        const auto vm = must(on.cluster->catalog().vm(on.vm));
        const auto newest = must(on.cluster->catalog().snapshots(on.vm)).back();
        for (auto& to : world_.clusters())
            if (to.get() != on.cluster) queue_send(*on.cluster, *to, vm, newest, false, {});
        on.cluster->run_all();
    }
}

void Actions::send_newest(Cluster& from, Cluster& to, const model::Vm& vm,
                          const model::Snapshot& newest) {
    const auto sent = queue_send(from, to, vm, newest, false, {});
    from.run_all();
    // Nothing in common any more: the operator is told to send it whole.
    if (from.task(*sent).error_kind == "unsupported")
        succeeds(from, queue_send(from, to, vm, newest, true, {}));
    else
        succeeds(from, sent);
}

void Actions::send_everything() {
    for (const auto& on : known(model::Phase::owned)) {
        const auto all = machines();
        if (std::ranges::none_of(all, [&](const Seen& seen) {
                return seen.cluster == on.cluster && seen.vm == on.vm;
            }))
            continue;  // promoted, and never defined: that promote failed and waits for a retry
        if (!succeeds(*on.cluster, queue_snapshot(on))) continue;
        if (world_.released.contains(on.vm)) continue;
        const auto vm = must(on.cluster->catalog().vm(on.vm));
        const auto newest = must(on.cluster->catalog().snapshots(on.vm)).back();
        for (auto& to : world_.clusters())
            if (to.get() != on.cluster) send_newest(*on.cluster, *to, vm, newest);
    }
}

bool Actions::succeeds(Cluster& cluster, const std::optional<TaskId>& id) {
    if (!id) {
        world_.broken(fmt::format("promise 5: {} has no daemon any more", cluster.name()));
        return false;
    }
    cluster.run_all();
    const auto task = cluster.task(*id);
    if (task.state == model::TaskState::succeeded) return true;
    world_.broken(fmt::format("promise 5: with nothing wrong any more, '{}' is {}: {}", task.title,
                              model::to_string(task.state), task.error));
    return false;
}

// Also a second one beside the first: two operators may have asked at the same moment.
void Actions::drill() {
    const auto replica = some_replica(2);
    if (!replica) return;
    auto& chance = world_.chance();
    const auto& [on, snapshot] = *replica;
    on.cluster->hypervisor().set_boots(!chance.one_in(4));
    on.cluster->queue("replica_drill", on.vm, fmt::format("drill {}@{}", on.name, snapshot.name),
                      {{"snapshot", snapshot.id.text()},
                       {"wait", chance.one_in(3) ? "none" : ""},
                       {"network", ""},
                       {"limit_ms", 0}});
}

}  // namespace understudy::sim
