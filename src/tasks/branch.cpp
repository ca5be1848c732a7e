#include "tasks/branch.hpp"

#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/parts.hpp"
#include "tasks/runner.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

constexpr const char* kBranchPart = "branch";

// The snapshot that holds them, once it exists.
Result<SnapshotId> keep_writes(Work& work, const VmId& vm) {
    auto made = run_part(work, kBranchPart, snapshot_create(),
                         {{"vm", vm.text()},
                          {"snapshot", work.site().random.id<SnapshotId>().text()},
                          {"name", stamped_name(work.site(), "branch")},
                          {"freeze", false},
                          {"branch", true}});
    if (!made) return std::unexpected(std::move(made.error()).during("keep what was written here"));
    return made->at("snapshot").get<model::Snapshot>().id;
}

// `kept` are the disks that snapshot `on` is of: what it does not hold of them must not be lost.
Result<> retire_heads(Work& work, const std::vector<model::VmDisk>& disks, const SnapshotId& on,
                      const std::vector<model::SnapshotDisk>& kept) {
    for (const auto& disk : disks) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto retired = (*pool)->retire_head(disk.volume, on);
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
    auto snapshot = site.catalog.find_snapshot(*on);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    if (!*snapshot) return false;
    auto described = site.hypervisor.describe(vm);
    if (!described) return std::unexpected(std::move(described.error()));
    for (const auto& defined : described->disks) {
        auto volume = volume_at(site, disks, defined.source);
        if (!volume) return std::unexpected(std::move(volume.error()));
        if (!*volume) return false;
        auto pool = site.pool((*volume)->pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto size = (*pool)->disk_size(defined.source);
        if (!size && size.error().kind() == ErrorKind::not_found) return false;
        if (!size) return std::unexpected(std::move(size.error()));
        const auto& then = (*snapshot)->disks;
        const auto disk = std::ranges::find(then, (*volume)->volume, &model::SnapshotDisk::volume);
        if (disk == then.end() || disk->size != *size) return false;  // new, or grown
        auto equal = (*pool)->head_equals((*volume)->volume, *on);
        if (!equal && equal.error().kind() == ErrorKind::not_found) return false;
        if (!equal || !*equal) return equal;
    }
    return true;
}

Result<> see_all_kept(Work& work, const VmId& id, const std::vector<model::VmDisk>& disks,
                      const std::optional<SnapshotId>& on) {
    const auto noted = id_in<SnapshotId>(work.memo(), "departs_from");
    auto clean =
        holds_nothing_beyond(work.site(), id, disks, noted.is_nil() ? on : std::optional(noted));
    if (!clean) return std::unexpected(std::move(clean.error()));
    if (!noted.is_nil()) {
        if (*clean) return {};
        work.memo().erase("departs_from");
        forget_part(work, kBranchPart);
        UNDERSTUDY_TRY(work.save_memo());
    }
    auto kept = *clean ? Result<SnapshotId>(*on) : keep_writes(work, id);
    if (!kept) return std::unexpected(std::move(kept.error()));
    work.memo()["departs_from"] = kept->text();
    return work.save_memo();
}

Result<> see_branch_kept(Site& site, const model::Vm& vm, const model::Ownership& ownership) {
    auto presence = presence_of(site, vm.id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::undefined) return {};
    auto tasks = site.catalog.tasks({vm.id});
    if (!tasks) return std::unexpected(std::move(tasks.error()));
    for (const auto& task : *tasks) {
        const auto arguments = nlohmann::json::parse(task.arguments, nullptr, false);
        if (task.kind == kKeepBranch && number_in(arguments, "epoch") == ownership.epoch) return {};
    }
    UNDERSTUDY_TRY(site.catalog.add_task(
        new_task(site, kKeepBranch, vm.id,
                 fmt::format("keep what {} wrote here until it was superseded", vm.name),
                 {{"vm", vm.id.text()}, {"epoch", ownership.epoch}})));
    site.bells->queued.ring();
    return {};
}

Result<> depart(Work& work, const std::vector<model::VmDisk>& disks,
                const std::optional<SnapshotId>& on) {
    auto& site = work.site();
    work.ignore_cancel();  // it is another cluster's already
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto presence = presence_of(site, id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::running)
        return fail(Error(ErrorKind::conflict, "the VM runs here")
                        .advising("Stop it: `understudy vm stop`."));
    if (*presence != Presence::undefined) {
        UNDERSTUDY_TRY(see_all_kept(work, id, disks, on));
        UNDERSTUDY_TRY(site.hypervisor.undefine(id));
    }
    const auto head = id_in<SnapshotId>(work.memo(), "departs_from");
    if (head.is_nil()) return {};
    auto leaving = disks;  // and those that came since, which the branch knows
    auto snapshot = site.catalog.find_snapshot(head);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    const auto kept = *snapshot ? (*snapshot)->disks : std::vector<model::SnapshotDisk>();
    for (const auto& disk : vm_disks(kept))
        if (std::ranges::find(leaving, disk.volume, &model::VmDisk::volume) == leaving.end())
            leaving.push_back(disk);
    return retire_heads(work, leaving, head, kept);
}

namespace {

// The VM is still as it was when its cluster was told that it is another's now.
Result<> keep(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto presence = presence_of(site, vm->id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (!has_part(work, kBranchPart)) {  // else it is half done, and others wait for its end
        if (vm->ownership.phase != model::Phase::superseded || *presence == Presence::undefined)
            return {};  // resolved meanwhile
        auto clean = holds_nothing_beyond(site, vm->id, vm->disks, vm->head_parent);
        if (!clean) return std::unexpected(std::move(clean.error()));
        if (*clean) return {};
    }
    auto kept = keep_writes(work, vm->id);
    if (!kept) return std::unexpected(std::move(kept.error()));
    work.result()["snapshot"] = kept->text();
    work.log("kept as a snapshot; `understudy replica resolve` settles what becomes of it");
    return {};
}

Result<> undo(Work& work) {
    return undo_parts(work, {snapshot_create()});
}

}  // namespace

Kind keep_branch() {
    return Kind{kKeepBranch, {{"keep", keep, true}}, undo, true};
}

}  // namespace understudy::tasks
