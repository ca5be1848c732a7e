#include "tasks/disks/incoming.hpp"
#include "tasks/disks/removal.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/replicas/kinds.hpp"
#include "tasks/replicas/tidying.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

// A resync builds on content that no snapshot in the catalog lists any more. Once a listed snapshot
// stands on it, its layers are merged and their space is given back. The one step lists what is
// unlisted while no offer can come, and looks again before each removal whether a transfer needs
// it. A crash leaves some of it unlisted: the step is run again.

namespace understudy::tasks {
namespace {

struct Unlisted {
    model::VmDisk disk;
    SnapshotId snapshot;
};

// The snapshots to keep: those that are listed, and those that a transfer brings or builds on.
// Content that is being received becomes listed, or its receiver removes it.
Result<std::set<SnapshotId>> wanted_snapshots(Site& site, const VmId& vm) {
    std::set<SnapshotId> wanted;
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    for (const auto& snapshot : snapshots) wanted.insert(snapshot.id);
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    for (const auto& transfer : transfers) {
        if (transfer.request.vm != vm) continue;
        wanted.insert(transfer.request.snapshot.id);
        if (transfer.request.base) wanted.insert(*transfer.request.base);
        for (const auto& base : transfer.request.resync) wanted.insert(base.snapshot);
    }
    return wanted;
}

Result<std::vector<Unlisted>> unlisted_snapshots(Site& site, const VmId& id) {
    std::vector<Unlisted> found;
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!vm) return found;
    auto wanted = UNDERSTUDY_VALUE(wanted_snapshots(site, id));
    for (const auto& disk : vm->disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto held = pool->snapshots(disk.volume);
        if (!held && held.error().kind() == ErrorKind::not_found) continue;
        if (!held) return error_of(held);
        for (const auto& snapshot : *held)
            if (!wanted.contains(snapshot)) found.push_back({disk, snapshot});
    }
    return found;
}

Result<> remove(Work& work) {
    auto& site = work.site();
    const auto vm = work.arguments<ReplicaTidyArguments>().vm;
    UNDERSTUDY_TRY(check_turn(site, vm, Asker::layers));  // it may have been promoted since
    std::vector<Unlisted> unlisted;
    const auto look = [&]() -> Result<> {
        unlisted = UNDERSTUDY_VALUE(unlisted_snapshots(site, vm));
        return {};
    };
    // No snapshot is between its pool and the catalog meanwhile.
    UNDERSTUDY_TRY(between_offers(site, look));
    for (const auto& [disk, snapshot] : unlisted) {
        UNDERSTUDY_TRY(work.checkpoint());
        // A resync may have been offered since that builds on it.
        auto wanted = UNDERSTUDY_VALUE(wanted_snapshots(site, vm));
        if (wanted.contains(snapshot)) continue;
        UNDERSTUDY_TRY(remove_from_volumes(work, work.memo<ReplicaTidyMemo>().follow, vm,
                                           {{disk.target, disk.volume, disk.pool, {}}}, snapshot));
        work.log(fmt::format("{}: content that no snapshot lists is merged", disk.target));
    }
    return {};
}

}  // namespace

Result<> tidy_replica(Site& site, const VmId& vm) {
    auto unlisted = UNDERSTUDY_VALUE(unlisted_snapshots(site, vm));
    if (unlisted.empty()) return {};
    auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(vm));
    for (const auto& task : active)
        if (task.kind == kReplicaTidy) return {};
    auto record = UNDERSTUDY_VALUE(site.catalog.vm(vm));
    UNDERSTUDY_TRY(site.catalog.add_task(new_task(
        site, kReplicaTidy, vm, fmt::format("tidy {}", record.name), ReplicaTidyArguments{vm})));
    site.bells->queued.ring();
    return {};
}

Kind replica_tidy() {
    return {.name = kReplicaTidy,
            .records = records_of<ReplicaTidyArguments, ReplicaTidyMemo>(),
            .steps = {{.name = "remove", .run = remove}},
            .clean_on_failed = false};
}

}  // namespace understudy::tasks
