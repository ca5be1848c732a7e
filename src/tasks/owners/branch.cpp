#include "tasks/owners/branch.hpp"

#include "tasks/disks/volumes.hpp"
#include "tasks/owners/kinds.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/records/owner_records.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

#include <algorithm>

// Keeps what a VM wrote only here, though another cluster owns it now: as a snapshot, held as a
// branch. The task keep_branch does no more than that. depart takes the VM away as well: the
// snapshot first, if the disks hold more than the last one; then the VM is undefined; then its
// heads go. After a crash it is called again, and the memo's `departs_from` names the snapshot.

namespace understudy::tasks {
namespace {

constexpr const char* kBranchPart = "branch";

// Takes a snapshot that holds the VM's writes, and gives its id.
Result<SnapshotId> keep_writes(Work& work, const VmId& vm) {
    auto made = run_part<SnapshotCreateResult>(
        work, kBranchPart, snapshot_create(),
        SnapshotCreateArguments{.vm = vm,
                                .snapshot = work.site().random.id<SnapshotId>(),
                                .name = stamped_name(work.site(), "branch"),
                                .freeze = false,
                                .branch = true});
    if (!made) return fail(std::move(made.error()).during("keep what was written here"));
    if (!made->snapshot) return fail(ErrorKind::corrupt, "the part does not name its snapshot");
    return made->snapshot->id;
}

// `kept` are the disks in snapshot `on`: writes to them that the snapshot does not have must not be
// lost.
Result<> retire_heads(Work& work, const std::vector<model::VmDisk>& disks, const SnapshotId& on,
                      const std::vector<model::SnapshotDisk>& kept) {
    for (const auto& disk : disks) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        auto retired = pool->retire_head(disk.volume, on);
        if (retired || retired.error().kind() == ErrorKind::not_found) continue;
        const bool was_there =
            std::ranges::find(kept, disk.volume, &model::SnapshotDisk::volume) != kept.end();
        if (retired.error().kind() == ErrorKind::conflict && !was_there) {
            work.log(fmt::format("{}, unplugged before, stays as it is: {}", disk.target,
                                 retired.error().what()));
            continue;
        }
        return fail(std::move(retired.error()).during("let go of " + disk.target));
    }
    return {};
}

}  // namespace

Result<bool> holds_nothing_beyond(Site& site, const VmId& vm,
                                  const std::vector<model::VmDisk>& disks,
                                  const std::optional<SnapshotId>& on) {
    if (!on) return false;
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.find_snapshot(*on));
    if (!snapshot) return false;
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(vm));
    for (const auto& defined : described.disks) {
        auto volume = UNDERSTUDY_VALUE(volume_at(site, disks, defined.source));
        if (!volume) return false;
        auto pool = UNDERSTUDY_VALUE(site.pool(volume->pool));
        auto size = pool->disk_size(defined.source);
        if (!size && size.error().kind() == ErrorKind::not_found) return false;
        if (!size) return error_of(size);
        const auto& then = snapshot->disks;
        const auto disk = std::ranges::find(then, volume->volume, &model::SnapshotDisk::volume);
        if (disk == then.end() || disk->size != *size) return false;  // new, or grown
        auto equal = pool->head_equals(volume->volume, *on);
        if (!equal && equal.error().kind() == ErrorKind::not_found) return false;
        if (!equal || !*equal) return equal;
    }
    return true;
}

Result<> see_all_kept(Work& work, std::optional<SnapshotId>& departs_from, const VmId& id,
                      const std::vector<model::VmDisk>& disks,
                      const std::optional<SnapshotId>& on) {
    const auto clean = UNDERSTUDY_VALUE(
        holds_nothing_beyond(work.site(), id, disks, departs_from ? departs_from : on));
    if (departs_from) {
        if (clean) return {};
        departs_from.reset();
        forget_part(work, kBranchPart);
        UNDERSTUDY_TRY(work.save_memo());
    }
    departs_from = UNDERSTUDY_VALUE(clean ? Result<SnapshotId>(*on) : keep_writes(work, id));
    return work.save_memo();
}

Result<> see_branch_kept(Site& site, const model::Vm& vm, const model::Ownership& ownership) {
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm.id));
    if (presence == Presence::undefined) return {};
    const auto tasks =
        UNDERSTUDY_VALUE(site.catalog.tasks_of_kind(vm.id, std::string(kKeepBranch)));
    for (const auto& task : tasks) {
        const auto arguments = arguments_in<KeepBranchArguments>(task);
        if (arguments && arguments->epoch == ownership.epoch) return {};
    }
    UNDERSTUDY_TRY(site.catalog.add_task(
        new_task(site, kKeepBranch, vm.id,
                 fmt::format("keep what {} wrote here until it was superseded", vm.name),
                 KeepBranchArguments{vm.id, ownership.epoch})));
    site.bells->queued.ring();
    return {};
}

Result<> depart(Work& work, std::optional<SnapshotId>& departs_from, const VmId& id,
                const std::vector<model::VmDisk>& disks, const std::optional<SnapshotId>& on) {
    auto& site = work.site();
    work.ignore_cancel();  // it is another cluster's already
    auto presence = UNDERSTUDY_VALUE(presence_of(site, id));
    if (presence == Presence::running)
        return fail(Error(ErrorKind::conflict, "the VM runs here")
                        .advising("Stop it: `understudy vm stop`."));
    if (presence != Presence::undefined) {
        UNDERSTUDY_TRY(see_all_kept(work, departs_from, id, disks, on));
        UNDERSTUDY_TRY(site.hypervisor.undefine(id));
    }
    if (!departs_from) return {};
    const auto head = *departs_from;
    auto leaving = disks;  // and those that came since, which the branch knows
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.find_snapshot(head));
    const auto kept = snapshot ? snapshot->disks : std::vector<model::SnapshotDisk>();
    for (const auto& disk : vm_disks(kept))
        if (std::ranges::find(leaving, disk.volume, &model::VmDisk::volume) == leaving.end())
            leaving.push_back(disk);
    return retire_heads(work, leaving, head, kept);
}

namespace {

// The VM is still as it was when its cluster was told that it is another's now.
Result<> keep(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(work.arguments<KeepBranchArguments>().vm));
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm.id));
    if (!has_part(work, kBranchPart)) {  // else the snapshot has begun, and others wait for its end
        if (vm.ownership.phase != model::Phase::superseded || presence == Presence::undefined)
            return {};  // resolved meanwhile
        auto clean = UNDERSTUDY_VALUE(holds_nothing_beyond(site, vm.id, vm.disks, vm.head_parent));
        if (clean) return {};
    }
    auto kept = UNDERSTUDY_VALUE(keep_writes(work, vm.id));
    work.result<KeepBranchResult>().snapshot = kept;
    work.log("kept as a snapshot; decide with `understudy replica resolve` what happens with it");
    return {};
}

Result<> undo(Work& work) {
    return undo_parts(work, {snapshot_create()});
}

}  // namespace

Kind keep_branch() {
    return {.name = kKeepBranch,
            .records = records_of<KeepBranchArguments, Nothing, KeepBranchResult>(),
            .steps = {{.name = "keep", .run = keep, .must_go_on = true}},
            .on_failure = undo};
}

}  // namespace understudy::tasks
