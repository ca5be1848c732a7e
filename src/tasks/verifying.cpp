#include "tasks/verifying.hpp"

#include "protocol/features.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/runner.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

constexpr const char* kNext = "next";
// A replica whose comparison did not come to an end is tried again after this or `every`.
constexpr Duration kAgainAfter = std::chrono::hours(6);

}  // namespace

model::Task new_verification(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                             bool repair, std::uint64_t rate_bytes) {
    return new_task(site, kReplicaVerify, vm.id,
                    fmt::format("verify {}@{}", vm.name, snapshot.name),
                    {{"vm", vm.id.text()},
                     {"snapshot", snapshot.id.text()},
                     {"repair", repair},
                     {"rate_bytes", rate_bytes}});
}

Result<VerifyCase> verify_case(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (vm->ownership.phase != model::Phase::replica)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is no replica here", vm->name))
                        .advising("A replica is compared with the cluster that owns its VM."));
    auto snapshot = site.catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto peer = site.catalog.peer(vm->ownership.owner);
    if (!peer && peer.error().kind() == ErrorKind::not_found)
        return fail(Error(ErrorKind::refused,
                          fmt::format("the owner of VM '{}' is no peer of this cluster", vm->name))
                        .advising("Pair the clusters again to compare what they hold."));
    if (!peer) return std::unexpected(std::move(peer.error()));
    UNDERSTUDY_TRY(protocol::check_can_compare(peer->capabilities));
    auto link = site.peers.to(peer->id);
    if (!link) return std::unexpected(std::move(link.error()));
    return VerifyCase{std::move(*vm), std::move(*snapshot), std::move(*link), peer->name};
}

Result<TaskId> queue_next(Work& work, model::Task next) {
    auto& site = work.site();
    if (const auto named = id_in<TaskId>(work.memo(), kNext); !named.is_nil()) next.id = named;
    work.memo()[kNext] = next.id.text();
    UNDERSTUDY_TRY(work.save_memo());
    auto added = site.catalog.add_task(next);
    if (!added && added.error().kind() != ErrorKind::conflict)
        return std::unexpected(std::move(added.error()));
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
    auto newest = newest_point(site, vm);
    if (!newest) return std::unexpected(std::move(newest.error()));
    if (!*newest) return std::nullopt;
    auto done = site.catalog.verifications(vm.id);
    if (!done) return std::unexpected(std::move(done.error()));
    Due due{vm, std::move(**newest), {}};
    if (!done->empty()) due.last = done->front().ended;
    auto tasks = site.catalog.tasks({vm.id});
    if (!tasks) return std::unexpected(std::move(tasks.error()));
    for (const auto& task : *tasks) {
        if (task.kind != kReplicaVerify) continue;
        if (!task.ended_already()) return std::nullopt;
        // One that failed for want of a peer is not begun again at every turn of the clock.
        const auto again = std::min(every, kAgainAfter);
        if (task.created + again > site.clock.now()) return std::nullopt;
        break;
    }
    return due;
}

}  // namespace

Result<> queue_due_verification(Site& site, Duration every) {
    auto active = site.catalog.tasks({std::nullopt, true, 10'000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.kind == kReplicaVerify || task.kind == kReplicaRepair) return {};
    auto vms = site.catalog.vms();
    if (!vms) return std::unexpected(std::move(vms.error()));
    std::optional<Due> next;
    for (const auto& vm : *vms) {
        if (vm.ownership.phase != model::Phase::replica) continue;
        auto due = last_turn(site, vm, every);
        if (!due) return std::unexpected(std::move(due.error()));
        if (!*due || (*due)->last + every > site.clock.now()) continue;
        if (!next || (*due)->last < next->last) next = std::move(**due);
    }
    if (!next) return {};
    UNDERSTUDY_TRY(
        site.catalog.add_task(new_verification(site, next->vm, next->snapshot, false, 0)));
    site.bells->queued.ring();
    return {};
}

}  // namespace understudy::tasks
