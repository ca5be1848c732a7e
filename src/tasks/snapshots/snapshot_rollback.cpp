#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

#include <algorithm>

// The VM's disks and definition go back to a snapshot; what the guest wrote after its newest
// snapshot is given up (the command line says so and asks). Snapshots stay, all of them.
//
// The order, and what a crash leaves: `hold` rehearses, before anything is made; `go_back` makes
// the new heads beside the present ones and defines the VM with them, which is the one step from
// before to after; `settle` throws away the heads that were there, or takes a disk back in place
// whose pool has no heads beside the present one. Until the VM is defined anew everything can be
// undone, after it everything goes forward.

namespace understudy::tasks {
namespace {

const SnapshotRollbackArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotRollbackArguments>();
}

SnapshotRollbackMemo& memo_of(Work& work) {
    return work.memo<SnapshotRollbackMemo>();
}

SnapshotRollbackResult& result_of(Work& work) {
    return work.result<SnapshotRollbackResult>();
}

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(arguments_of(work).snapshot);
}

Result<std::optional<ports::VmDescription>> described_now(Work& work) {
    return described_vm(work.site(), arguments_of(work).vm);
}

Result<> check_stopped(const std::optional<ports::VmDescription>& described) {
    if (!described) return {};
    const auto& name = described->summary.name;
    if (described->summary.state != ports::VmState::stopped)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is running", name))
                        .keeping("everything as it was")
                        .advising(fmt::format("Shut it down first: `understudy vm shutdown {}`.",
                                              base::shell_word(name))));
    // Its memory belongs to the disks that would be thrown away.
    for (const auto& obstacle : described->obstacles)
        if (obstacle.key == "managed-save")
            return fail(Error(ErrorKind::refused,
                              fmt::format("VM '{}' has saved memory (`virsh managedsave`)", name))
                            .keeping("everything as it was")
                            .advising("Start it and shut it down, or drop the memory with `virsh "
                                      "managedsave-remove`."));
    return {};
}

Result<> check(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(arguments_of(work).vm));
    UNDERSTUDY_TRY(engine::may_start(vm.ownership, site.cluster.id, vm.name,
                                     cluster_name(site, vm.ownership.owner)));
    auto described = UNDERSTUDY_VALUE(described_now(work));
    UNDERSTUDY_TRY(check_stopped(described));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    auto adapted = rehearse_here(site, snapshot, snapshot.origin);
    if (!adapted) return fail(std::move(adapted.error()).during("rehearse"));
    return engine::check_obstacles(adapted->issues, arguments_of(work).accept);
}

// Until the VM is on it, the snapshot must stay.
Result<> hold(Work& work) {
    UNDERSTUDY_TRY(check(work));
    UNDERSTUDY_TRY(check_turn(work.site(), arguments_of(work).vm, Asker::rollback, work.task().id));
    UNDERSTUDY_TRY(check_turn(work.site(), arguments_of(work).vm, Asker::layers));
    return hold_for_task(work, arguments_of(work).snapshot);
}

// If an earlier task left its work on this disk half-done, the file that the VM is defined with now
// decides.
Result<> reconcile_present_disk(const ports::VmDescription& described,
                                const model::SnapshotDisk& disk, ports::StoragePool& pool) {
    auto known = UNDERSTUDY_VALUE(pool.knows(disk.volume));
    for (const auto& defined : described.disks) {
        if (!known || defined.target != disk.target) continue;
        auto adopted =
            pool.adopt(disk.volume, {described.summary.name, disk.target}, defined.source);
        if (!adopted && adopted.error().kind() != ErrorKind::conflict)
            return fail(std::move(adopted.error()).during(disk.target));
    }
    return {};
}

Result<std::vector<ports::DiskSwitch>> make_heads(Work& work, const model::Snapshot& snapshot) {
    auto& site = work.site();
    auto described = UNDERSTUDY_VALUE(described_now(work));
    std::vector<ports::DiskSwitch> heads;
    for (const auto& disk : snapshot.disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        if (described) UNDERSTUDY_TRY(reconcile_present_disk(*described, disk, *pool));
        auto head = pool->activate(disk.volume, snapshot.id, ports::ActivationKind::rollback);
        if (!head) return fail(std::move(head.error()).during("activate " + disk.target));
        auto present = UNDERSTUDY_VALUE(pool->head(disk.volume));
        const bool is_beside = present != *head;
        if (is_beside || !pool->features().live_overlay)
            (is_beside ? memo_of(work).made : memo_of(work).in_place)[disk.volume] =
                KeptSource::of(*head);
        UNDERSTUDY_TRY(work.save_memo());
        heads.push_back({disk.target, std::move(*head)});
    }
    return heads;
}

struct MadeHead {
    const model::SnapshotDisk* disk;
    ports::DiskSource source;
};

std::vector<MadeHead> heads_of(const std::map<VolumeId, KeptSource>& kept,
                               const model::Snapshot& snapshot) {
    std::vector<MadeHead> heads;
    for (const auto& disk : snapshot.disks)
        if (const auto head = kept.find(disk.volume); head != kept.end())
            heads.push_back({&disk, head->second.source()});
    return heads;
}

Result<> go_back(Work& work) {
    UNDERSTUDY_TRY(hold(work));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    auto heads = UNDERSTUDY_VALUE(make_heads(work, snapshot));
    memo_of(work).defining = true;
    UNDERSTUDY_TRY(work.save_memo());
    auto changes = UNDERSTUDY_VALUE(
        define_from_snapshot(work, snapshot, heads, snapshot.origin, arguments_of(work).accept));
    return {};
}

Result<bool> is_defined_with(Work& work, const std::vector<MadeHead>& made) {
    auto described = UNDERSTUDY_VALUE(described_now(work));
    if (!described) return false;
    return std::ranges::any_of(described->disks, [&](const ports::DiskDescription& disk) {
        return std::ranges::any_of(
            made, [&](const auto& head) { return head.source.location == disk.source.location; });
    });
}

// Removes heads that the VM is not defined with. A head that a later rollback made its own is left
// to that rollback.
Result<> drop_heads(Work& work, const model::Snapshot& snapshot) {
    auto heads = heads_of(memo_of(work).made, snapshot);
    for (auto& head : heads_of(memo_of(work).in_place, snapshot)) heads.push_back(std::move(head));
    for (const auto& head : heads) {
        auto pool = work.site().pool(head.disk->pool);
        if (!pool) continue;
        auto undone = (*pool)->deactivate(head.disk->volume, head.source);
        if (!undone && undone.error().kind() != ErrorKind::not_found &&
            undone.error().kind() != ErrorKind::refused)
            return fail(std::move(undone.error()).during(head.disk->target));
    }
    return {};
}

Result<> take_place(Work& work, const std::vector<MadeHead>& heads, const SnapshotId& snapshot) {
    for (const auto& head : heads) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(head.disk->pool));
        auto adopted = pool->activate(head.disk->volume, snapshot, ports::ActivationKind::promote);
        if (!adopted) return fail(std::move(adopted.error()).during(head.disk->target));
    }
    return {};
}

// The catalog first: until the pools have the new heads no snapshot can be taken of them, which
// would get a wrong parent.
Result<> finish_rollback(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(arguments_of(work).vm));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    const auto made = heads_of(memo_of(work).made, snapshot);
    auto defined = UNDERSTUDY_VALUE(is_defined_with(work, made));
    if (!made.empty() && !defined) {
        work.log("the VM has other disks now: the new disks of this rollback are not used");
        UNDERSTUDY_TRY(drop_heads(work, snapshot));
        return let_go_for_task(work, snapshot.id);
    }
    if (!memo_of(work).former) memo_of(work).former = vm.disks;
    const auto former = *memo_of(work).former;
    UNDERSTUDY_TRY(work.save_memo());
    vm.disks = vm_disks(snapshot.disks);
    vm.head_parent = snapshot.id;
    UNDERSTUDY_TRY(site.catalog.save_vm(vm));
    UNDERSTUDY_TRY(take_place(work, made, snapshot.id));
    UNDERSTUDY_TRY(take_place(work, heads_of(memo_of(work).in_place, snapshot), snapshot.id));
    UNDERSTUDY_TRY(forget_unused(site, vm.id, former));  // of disks that came later
    result_of(work).rolled_back_to = snapshot.name;
    return let_go_for_task(work, snapshot.id);
}

// New heads that the VM was not defined with go. Once it is, there is only the way forward.
Result<> undo_or_complete(Work& work) {
    auto snapshot = snapshot_of(work);
    if (!snapshot && snapshot.error().kind() == ErrorKind::not_found) return {};
    if (!snapshot) return error_of(snapshot);
    const auto made = heads_of(memo_of(work).made, *snapshot);
    auto defined = UNDERSTUDY_VALUE(is_defined_with(work, made));
    if (defined || (made.empty() && memo_of(work).defining)) {
        UNDERSTUDY_TRY(finish_rollback(work));
        work.log("the VM already had its new disks: the rollback is complete");
        return {};
    }
    UNDERSTUDY_TRY(drop_heads(work, *snapshot));
    UNDERSTUDY_TRY(let_go_for_task(work, snapshot->id));
    work.begin_again();
    return {};
}

}  // namespace

Kind snapshot_rollback() {
    return {
        .name = kSnapshotRollback,
        .records =
            records_of<SnapshotRollbackArguments, SnapshotRollbackMemo, SnapshotRollbackResult>(),
        .steps = {{.name = "hold", .run = hold},
                  {.name = "go_back", .run = go_back},
                  {.name = "settle", .run = finish_rollback, .must_go_on = true}},
        .on_failure = undo_or_complete};
}

}  // namespace understudy::tasks
