#include "tasks/disks/removal.hpp"

#include "tasks/disks/volumes.hpp"
#include "tasks/queue/turns.hpp"

#include <fmt/format.h>

// Takes a snapshot that the catalog no longer lists out of its volumes. Under a running VM one
// layer is merged at a time, and its pool records it. For a stopped VM the memo first gets the
// disk's present file, then the layer goes, then the definition follows to the new head. Volumes
// that nothing needs are forgotten last. A crash leaves layers to merge, or a stopped VM's
// definition that has still to follow; the next call does what is missing.

namespace understudy::tasks {

Result<std::optional<ports::DiskDescription>> reconcile_attached_disk(
    Site& site, const ports::VmDescription& described, const model::VmDisk& disk) {
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    auto head = UNDERSTUDY_VALUE(pool->head(disk.volume));
    if (!head) return std::nullopt;
    const bool runs = described.summary.state != ports::VmState::stopped;
    for (const auto& defined : described.disks) {
        const bool on_head = defined.source.location == head->location;
        if (on_head && runs) return defined;  // a merge that is planned can go on
        if (!on_head && defined.target != disk.target) continue;
        auto adopted =
            pool->adopt(disk.volume, {described.summary.name, disk.target}, defined.source);
        if (adopted) return defined;
        if (adopted.error().kind() != ErrorKind::conflict) return error_of(adopted);
        auto moving = UNDERSTUDY_VALUE(
            is_being_snapshotted(site, described.summary.id, defined.source.location));
        if (moving)
            return fail(
                Error(ErrorKind::conflict,
                      fmt::format("a snapshot of {} is not finished", defined.target))
                    .advising("Its task continues by itself; `understudy task list` shows it."));
    }
    return std::nullopt;
}

namespace {

Result<> remove_live(Work& work, const VmId& vm, const std::string& target, const VolumeId& volume,
                     ports::StoragePool& pool, const SnapshotId& id) {
    // One merge at a time, until none is left: earlier removals may have had to wait.
    while (true) {
        auto merge = UNDERSTUDY_VALUE(pool.plan_removal(volume, id));
        if (!merge) break;
        work.log(fmt::format("{}: merging a layer while the VM runs", target));
        UNDERSTUDY_TRY(work.site().hypervisor.merge(vm, target, *merge,
                                                    [&work] { return work.interrupted(); }));
        UNDERSTUDY_TRY(pool.finish_removal(volume, id));
    }
    return pool.finish_removal(volume, id);
}

// The stopped VM's disk may soon be on another file. Saved now: the file that its definition names.
// The definition is changed later only if it still names that file.
Result<> remember_disk(Work& work, FollowedDisks& follow, const VolumeId& volume,
                       const ports::DiskDescription& defined) {
    follow[volume] = {defined.target, defined.source.location};
    return work.save_memo();
}

Result<> follow_heads(Work& work, FollowedDisks& follow, const VmId& vm,
                      const std::vector<model::SnapshotDisk>& disks) {
    auto described = UNDERSTUDY_VALUE(described_vm(work.site(), vm));
    std::vector<ports::DiskSwitch> switches;
    for (const auto& disk : disks) {
        const auto known = follow.find(disk.volume);
        if (known == follow.end() || !described) continue;
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        auto head = pool->head(disk.volume);
        if (!head && head.error().kind() != ErrorKind::not_found) return error_of(head);
        if (!head || !*head) continue;
        for (const auto& defined : described->disks)
            if (defined.target == known->second.target &&
                defined.source.location == known->second.from &&
                defined.source.location != (*head)->location)
                switches.push_back({defined.target, **head});
    }
    if (!switches.empty()) UNDERSTUDY_TRY(work.site().hypervisor.set_disks(vm, switches));
    follow.clear();
    return work.save_memo();
}

Result<> remove_from_volume(Work& work, FollowedDisks& follow, const VmId& vm,
                            const std::optional<ports::VmDescription>& described,
                            const model::SnapshotDisk& disk, const SnapshotId& id) {
    auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
    auto known = UNDERSTUDY_VALUE(pool->knows(disk.volume));
    if (!known) return {};
    std::optional<ports::DiskDescription> attached;
    if (described) {
        auto found = UNDERSTUDY_VALUE(reconcile_attached_disk(
            work.site(), *described, {disk.target, disk.volume, disk.pool}));
        attached = std::move(found);
    }
    if (!attached) return pool->remove_snapshot(disk.volume, id);
    if (described->summary.state != ports::VmState::stopped)
        return remove_live(work, vm, attached->target, disk.volume, *pool, id);
    UNDERSTUDY_TRY(remember_disk(work, follow, disk.volume, *attached));
    // The definition may name the layer that goes. First the name, then the file: a crash in
    // between leaves a VM that starts.
    if (pool->features().live_overlay)
        UNDERSTUDY_TRY(
            work.site().hypervisor.set_disks(vm, {{attached->target, attached->source}}));
    return pool->remove_snapshot(disk.volume, id);
}

}  // namespace

Result<> remove_from_volumes(Work& work, FollowedDisks& follow, const VmId& vm,
                             const std::vector<model::SnapshotDisk>& disks, const SnapshotId& id) {
    auto described = UNDERSTUDY_VALUE(described_vm(work.site(), vm));
    // First what an earlier attempt had moved.
    if (described && described->summary.state == ports::VmState::stopped) {
        UNDERSTUDY_TRY(follow_heads(work, follow, vm, disks));
        described = UNDERSTUDY_VALUE(described_vm(work.site(), vm));
    }
    for (const auto& disk : disks) {
        auto removed = remove_from_volume(work, follow, vm, described, disk, id);
        if (!removed && removed.error().kind() != ErrorKind::not_found)
            return fail(std::move(removed.error())
                            .during("merge " + disk.target)
                            .keeping("all data; the snapshot is not listed any more, but its layer "
                                     "is not merged yet")
                            .advising(fmt::format("`understudy task retry {}` continues.",
                                                  work.task().id.text())));
    }
    if (!follow.empty()) UNDERSTUDY_TRY(follow_heads(work, follow, vm, disks));
    return forget_unused(work.site(), vm, vm_disks(disks));
}

}  // namespace understudy::tasks
