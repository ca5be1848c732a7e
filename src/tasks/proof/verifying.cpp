#include "tasks/proof/verifying.hpp"

#include "protocol/features.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/records/proof_records.hpp"

#include <fmt/format.h>

#include <algorithm>

// What the kinds replica_verify and replica_repair share, and the clock that queues comparisons.
// verify_case checks that a comparison is possible: a replica here, its owner a peer that can
// compare. queue_next saves the next task's id in the memo before it adds the task: after a crash
// the id is the same, and no second task is added. queue_due_verification takes the replica whose
// last comparison is the oldest, one at a time.

namespace understudy::tasks {
namespace {

// The shortest time from one comparison task of a replica to the next; `every` if that is shorter.
constexpr Duration kAgainAfter = std::chrono::hours(6);

}  // namespace

model::Task new_verification(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                             bool repair, std::uint64_t rate_bytes) {
    return new_task(site, kReplicaVerify, vm.id,
                    fmt::format("verify {}@{}", vm.name, snapshot.name),
                    ReplicaVerifyArguments{vm.id, snapshot.id, repair, rate_bytes});
}

Result<VerifyCase> verify_case(Site& site, const VmId& vm_id, const SnapshotId& snapshot_id) {
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(vm_id));
    if (vm.ownership.phase != model::Phase::replica)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is not a replica here", vm.name))
                        .advising("A replica is compared with the cluster that owns its VM."));
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(snapshot_id));
    auto peer = site.catalog.peer(vm.ownership.owner);
    if (!peer && peer.error().kind() == ErrorKind::not_found)
        return fail(Error(ErrorKind::refused,
                          fmt::format("the owner of VM '{}' is no peer of this cluster", vm.name))
                        .advising("Pair the clusters again; then their copies can be compared."));
    if (!peer) return error_of(peer);
    UNDERSTUDY_TRY(protocol::check_can_compare(peer->capabilities));
    auto link = UNDERSTUDY_VALUE(site.peers.to(peer->id));
    return VerifyCase{std::move(vm), std::move(snapshot), std::move(link), peer->name};
}

Result<TaskId> queue_next(Work& work, std::optional<TaskId>& named, model::Task next) {
    auto& site = work.site();
    if (named) next.id = *named;
    named = next.id;
    UNDERSTUDY_TRY(work.save_memo());
    auto added = site.catalog.add_task(next);
    if (!added && added.error().kind() != ErrorKind::conflict) return error_of(added);
    site.bells->queued.ring();
    return next.id;
}

namespace {

struct Due {
    model::Vm vm;
    model::Snapshot snapshot;
    TimePoint last;  // the epoch: never
};

// When the newest snapshot's turn came last; nothing while the VM has one under way.
Result<std::optional<Due>> last_turn(Site& site, const model::Vm& vm, Duration every) {
    auto newest = UNDERSTUDY_VALUE(newest_point(site, vm));
    if (!newest) return std::nullopt;
    auto done = UNDERSTUDY_VALUE(site.catalog.verifications(vm.id));
    Due due{vm, std::move(*newest), {}};
    if (!done.empty()) due.last = done.front().ended;
    const auto tasks =
        UNDERSTUDY_VALUE(site.catalog.tasks_of_kind(vm.id, std::string(kReplicaVerify)));
    for (const auto& task : tasks) {
        if (!task.ended_already()) return std::nullopt;
        // A task that failed because its peer was away is not repeated each time the clock looks.
        const auto again = std::min(every, kAgainAfter);
        if (task.created + again > site.clock.now()) return std::nullopt;
        break;
    }
    return due;
}

}  // namespace

Result<> queue_due_verification(Site& site, Duration every) {
    auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(std::nullopt));
    for (const auto& task : active)
        if (task.kind == kReplicaVerify || task.kind == kReplicaRepair) return {};
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    std::optional<Due> next;
    for (const auto& vm : vms) {
        if (vm.ownership.phase != model::Phase::replica) continue;
        auto due = UNDERSTUDY_VALUE(last_turn(site, vm, every));
        if (!due || due->last + every > site.clock.now()) continue;
        if (!next || due->last < next->last) next = std::move(*due);
    }
    if (!next) return {};
    UNDERSTUDY_TRY(
        site.catalog.add_task(new_verification(site, next->vm, next->snapshot, false, 0)));
    site.bells->queued.ring();
    return {};
}

}  // namespace understudy::tasks
