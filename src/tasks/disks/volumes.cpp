#include "tasks/disks/volumes.hpp"

#include "engine/lineage.hpp"

#include <algorithm>
#include <set>

// Which volumes a VM, its snapshots and the transfers refer to, and whether libvirt has the VM
// here. Almost all of it only reads. forget_unused makes the pools forget volumes that nothing
// refers to; hold_for_task and let_go_for_task add and remove one hold. Each of these can be
// repeated: after a crash the same call does the rest.

namespace understudy::tasks {

Result<std::vector<model::VmDisk>> known_disks(Site& site, const VmId& id) {
    std::vector<model::VmDisk> known;
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (vm) known = vm->disks;
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(id));
    std::set<VolumeId> seen;
    for (const auto& disk : known) seen.insert(disk.volume);
    for (const auto& snapshot : snapshots)
        for (const auto& disk : snapshot.disks)
            if (seen.insert(disk.volume).second)
                known.push_back({disk.target, disk.volume, disk.pool});
    return known;
}

Result<std::optional<model::VmDisk>> volume_at(Site& site, const std::vector<model::VmDisk>& disks,
                                               const ports::DiskSource& source) {
    for (const auto& disk : disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto head = pool->head(disk.volume);
        if (!head && head.error().kind() == ErrorKind::not_found) continue;
        if (!head) return error_of(head);
        if (*head && (*head)->location == source.location) return disk;
    }
    return std::nullopt;
}

Result<std::optional<ports::VmDescription>> described_vm(Site& site, const VmId& vm) {
    auto described = site.hypervisor.describe(vm);
    if (described) return std::move(*described);
    if (described.error().kind() == ErrorKind::not_found) return std::nullopt;
    return error_of(described);
}

Result<Presence> presence_of(Site& site, const VmId& vm) {
    auto described = UNDERSTUDY_VALUE(described_vm(site, vm));
    if (!described) return Presence::undefined;
    return described->summary.state == ports::VmState::stopped ? Presence::stopped
                                                               : Presence::running;
}

Result<std::set<VolumeId>> volumes_in_use(Site& site, const VmId& id,
                                          std::optional<TransferId> ending) {
    std::set<VolumeId> used;
    auto known = UNDERSTUDY_VALUE(known_disks(site, id));
    for (const auto& disk : known) used.insert(disk.volume);
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    for (const auto& transfer : transfers)
        if (transfer.id != ending)
            for (const auto& disk : transfer.request.snapshot.disks) used.insert(disk.volume);
    return used;
}

Result<> forget_unused(Site& site, const VmId& id, const std::vector<model::VmDisk>& disks,
                       std::optional<TransferId> ending) {
    auto used = UNDERSTUDY_VALUE(volumes_in_use(site, id, ending));
    for (const auto& disk : disks) {
        if (used.contains(disk.volume)) continue;
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto head = pool->head(disk.volume);
        if (!head && head.error().kind() == ErrorKind::not_found) continue;
        if (!head) return error_of(head);
        UNDERSTUDY_TRY(pool->forget(disk.volume, !head->has_value()));
    }
    return {};
}

Result<std::optional<model::Snapshot>> newest_point(Site& site, const model::Vm& replica) {
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(replica.id));
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(replica.id));
    return engine::newest_point(snapshots, replica.ownership.owner, holds);
}

Result<> hold_for_task(Work& work, const SnapshotId& id) {
    return work.site().catalog.add_hold({id, model::HoldKind::transfer, work.task().id.text()});
}

Result<> let_go_for_task(Work& work, const SnapshotId& id) {
    return work.site().catalog.remove_hold({id, model::HoldKind::transfer, work.task().id.text()});
}

std::vector<model::VmDisk> vm_disks(const std::vector<model::SnapshotDisk>& disks) {
    std::vector<model::VmDisk> made;
    for (const auto& disk : disks) made.push_back({disk.target, disk.volume, disk.pool});
    return made;
}

}  // namespace understudy::tasks
