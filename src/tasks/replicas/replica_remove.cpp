#include "tasks/disks/incoming.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/drilling.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/replicas/kinds.hpp"

#include <fmt/format.h>

// The catalog forgets the replica first, then its data goes: a snapshot that is listed is whole.

namespace understudy::tasks {
namespace {

const ReplicaRemoveArguments& arguments_of(Work& work) {
    return work.arguments<ReplicaRemoveArguments>();
}

ReplicaRemoveMemo& memo_of(Work& work) {
    return work.memo<ReplicaRemoveMemo>();
}

Result<> unlist(Work& work) {
    auto& catalog = work.site().catalog;
    const auto id = arguments_of(work).vm;
    auto vm = UNDERSTUDY_VALUE(catalog.find_vm(id));
    if (!vm) return {};
    // A task in the middle of taking the VM away may not have kept its last writes yet.
    UNDERSTUDY_TRY(check_turn(work.site(), id, Asker::removal, work.task().id));
    if (vm->ownership.phase != model::Phase::replica)
        return fail(
            Error(ErrorKind::refused, fmt::format("VM '{}' is not a replica here", vm->name))
                .advising("To end Understudy's management of a VM, use `understudy vm release`."));
    auto snapshots = UNDERSTUDY_VALUE(catalog.snapshots(id));
    std::map<VolumeId, std::string> volumes;
    for (const auto& snapshot : snapshots)
        for (const auto& disk : snapshot.disks) volumes[disk.volume] = disk.pool;
    auto transfers = UNDERSTUDY_VALUE(catalog.transfers());
    for (const auto& transfer : transfers)
        if (transfer.request.vm == id)
            for (const auto& disk : transfer.request.snapshot.disks)
                volumes[disk.volume] = disk.pool;
    // Tasks that read this replica would keep its disks open: they are asked to end.
    auto active = UNDERSTUDY_VALUE(catalog.active_tasks(id));
    for (const auto& task : active)
        if (task.reads_only)
            UNDERSTUDY_TRY(catalog.request_cancel(task.id, work.site().clock.now()));
    UNDERSTUDY_TRY(check_no_drill(work.site(), id));  // asked to end just now
    memo_of(work).volumes = std::move(volumes);
    UNDERSTUDY_TRY(work.save_memo());
    return end_receiving(work.site(), id, [&] { return catalog.remove_vm(id); });
}

// Volumes that the catalog names again are left out: when a retry comes late, a new replica may be
// in them.
Result<> remove_data(Work& work) {
    auto used = UNDERSTUDY_VALUE(volumes_in_use(work.site(), arguments_of(work).vm));
    for (const auto& [volume, pool_name] : memo_of(work).volumes) {
        if (used.contains(volume)) continue;
        auto pool = UNDERSTUDY_VALUE(work.site().pool(pool_name));
        auto gone = pool->forget(volume, true);
        if (!gone && gone.error().kind() != ErrorKind::not_found) return error_of(gone);
    }
    if (work.site().evidence) return work.site().evidence->forget(arguments_of(work).vm);
    return {};
}

}  // namespace

Kind replica_remove() {
    return {.name = kReplicaRemove,
            .records = records_of<ReplicaRemoveArguments, ReplicaRemoveMemo>(),
            .steps = {{.name = "unlist", .run = unlist},
                      {.name = "remove_data", .run = remove_data, .must_go_on = true}},
            .clean_on_failed = false};
}

}  // namespace understudy::tasks
