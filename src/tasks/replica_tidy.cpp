#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/runner.hpp"
#include "tasks/tidying.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

// A resync builds on content that no snapshot of the catalog lists any more. Once something that is
// listed stands on it, what is not goes: its layers are merged, its space is given back.

namespace understudy::tasks {
namespace {

struct Unlisted {
    model::VmDisk disk;
    SnapshotId snapshot;
};

// What is being received becomes listed, or is removed by whoever receives it.
Result<std::set<SnapshotId>> wanted_snapshots(Site& site, const VmId& vm) {
    std::set<SnapshotId> wanted;
    auto snapshots = site.catalog.snapshots(vm);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    for (const auto& snapshot : *snapshots) wanted.insert(snapshot.id);
    auto transfers = site.catalog.transfers();
    if (!transfers) return std::unexpected(std::move(transfers.error()));
    for (const auto& transfer : *transfers) {
        if (transfer.request.vm != vm) continue;
        wanted.insert(transfer.request.snapshot.id);
        if (transfer.request.base) wanted.insert(*transfer.request.base);
        for (const auto& base : transfer.request.resync) wanted.insert(base.snapshot);
    }
    return wanted;
}

Result<std::vector<Unlisted>> unlisted_snapshots(Site& site, const VmId& id) {
    std::vector<Unlisted> found;
    auto vm = site.catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm) return found;
    auto wanted = wanted_snapshots(site, id);
    if (!wanted) return std::unexpected(std::move(wanted.error()));
    for (const auto& disk : (*vm)->disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto held = (*pool)->snapshots(disk.volume);
        if (!held && held.error().kind() == ErrorKind::not_found) continue;
        if (!held) return std::unexpected(std::move(held.error()));
        for (const auto& snapshot : *held)
            if (!wanted->contains(snapshot)) found.push_back({disk, snapshot});
    }
    return found;
}

Result<> remove(Work& work) {
    auto& site = work.site();
    const auto vm = id_in<VmId>(work.arguments(), "vm");
    UNDERSTUDY_TRY(check_no_snapshot_is_half_done(site, vm));  // it may have been promoted since
    std::vector<Unlisted> unlisted;
    // No snapshot is between its pool and the catalog meanwhile.
    UNDERSTUDY_TRY(site.between_offers([&]() -> Result<> {
        auto found = unlisted_snapshots(site, vm);
        if (!found) return std::unexpected(std::move(found.error()));
        unlisted = std::move(*found);
        return {};
    }));
    for (const auto& [disk, snapshot] : unlisted) {
        UNDERSTUDY_TRY(work.checkpoint());
        // A resync may have been offered since that builds on it.
        auto wanted = wanted_snapshots(site, vm);
        if (!wanted) return std::unexpected(std::move(wanted.error()));
        if (wanted->contains(snapshot)) continue;
        UNDERSTUDY_TRY(
            remove_from_volumes(work, vm, {{disk.target, disk.volume, disk.pool, {}}}, snapshot));
        work.log(fmt::format("{}: content that no snapshot lists is merged", disk.target));
    }
    return {};
}

}  // namespace

Result<> tidy_replica(Site& site, const VmId& vm) {
    auto unlisted = unlisted_snapshots(site, vm);
    if (!unlisted) return std::unexpected(std::move(unlisted.error()));
    if (unlisted->empty()) return {};
    auto active = site.catalog.tasks({vm, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.kind == kReplicaTidy) return {};
    auto record = site.catalog.vm(vm);
    if (!record) return std::unexpected(std::move(record.error()));
    UNDERSTUDY_TRY(site.catalog.add_task(new_task(
        site, kReplicaTidy, vm, fmt::format("tidy {}", record->name), {{"vm", vm.text()}})));
    site.bells->queued.ring();
    return {};
}

Kind replica_tidy() {
    return Kind{kReplicaTidy, {{"remove", remove}}, nullptr, false};
}

}  // namespace understudy::tasks
