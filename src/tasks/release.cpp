#include "engine/ownership.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/parts.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// Takes Understudy out of a VM again. Snapshots go first, oldest first, so that each layer's bytes
// move once; when the last is gone the VM is on the very files that it had before.

namespace understudy::tasks {
namespace {

Result<> let_go_of_peers(Work& work) {
    auto& catalog = work.site().catalog;
    auto vm = catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (vm->ownership.phase != model::Phase::owned)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is not owned here", vm->name))
                        .advising("Remove a replica with `understudy replica remove`."));
    auto holds = catalog.holds(vm->id);
    if (!holds) return std::unexpected(std::move(holds.error()));
    for (const auto& hold : *holds)
        if (hold.kind == model::HoldKind::transfer || hold.kind == model::HoldKind::drill)
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("a {} of VM '{}' is not finished",
                                  hold.kind == model::HoldKind::drill ? "drill" : "transfer",
                                  vm->name))
                    .keeping("the VM and its snapshots as they were")
                    .advising("Let it end or cancel it: `understudy task list`."));
    for (const auto& hold : *holds) UNDERSTUDY_TRY(catalog.remove_hold(hold));
    work.memo()["vm"] = *vm;
    return {};
}

// One that merged a layer away under a stopped VM, and could not say so to libvirt yet: another one
// would leave the VM defined with a disk that is gone.
Result<> check_no_other_release(Work& work) {
    auto tasks = work.site().catalog.tasks({id_in<VmId>(work.arguments(), "vm")});
    if (!tasks) return std::unexpected(std::move(tasks.error()));
    for (const auto& task : *tasks) {
        if (task.id == work.task().id || task.kind != work.task().kind) continue;
        if (task.state == model::TaskState::succeeded || task.state == model::TaskState::cancelled)
            continue;
        for (const auto& part : parts_of(task))
            if (part.memo.contains("merging"))
                return fail(
                    Error(ErrorKind::conflict, fmt::format("'{}' is not finished", task.title))
                        .advising(fmt::format("`understudy task retry {}` completes it.",
                                              task.id.text().substr(0, 8))));
    }
    return {};
}

// The VM's writes must be where they are about to be merged.
Result<> check_heads(Work& work) {
    auto& site = work.site();
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto described = site.hypervisor.describe(id);
    if (!described && described.error().kind() == ErrorKind::not_found) return {};
    if (!described) return std::unexpected(std::move(described.error()));
    auto disks = known_disks(site, id);
    if (!disks) return std::unexpected(std::move(disks.error()));
    for (const auto& disk : *disks) {
        auto attached = attached_disk(site, *described, disk);
        if (!attached && attached.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(attached.error()));
    }
    return {};
}

// A stopped VM may be defined with a layer that is merged away already: also a release that is
// cancelled there goes on to where the VM can start.
Result<> finish_merge(Work& work) {
    if (!work.memo().contains("merging")) return {};
    const auto interrupted = work.memo().at("merging").get<model::Snapshot>();
    auto listed = work.site().catalog.find_snapshot(interrupted.id);
    if (!listed) return std::unexpected(std::move(listed.error()));
    if (*listed) return {};
    return remove_from_volumes(work, interrupted.vm, interrupted.disks, interrupted.id);
}

Result<> merge_all(Work& work) {
    auto& catalog = work.site().catalog;
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto vm = catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm) return {};  // an earlier attempt got as far as the last line of `forget`
    // Between two attempts other tasks of this VM may have run.
    UNDERSTUDY_TRY(check_no_snapshot_is_half_done(work.site(), id));
    UNDERSTUDY_TRY(check_no_other_release(work));
    UNDERSTUDY_TRY(let_go_of_peers(work));
    UNDERSTUDY_TRY(check_heads(work));
    auto snapshots = catalog.snapshots(id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    UNDERSTUDY_TRY(finish_merge(work));
    for (const auto& snapshot : *snapshots) {
        UNDERSTUDY_TRY(work.checkpoint());
        work.memo()["merging"] = snapshot;
        UNDERSTUDY_TRY(work.save_memo());
        UNDERSTUDY_TRY(catalog.remove_snapshot(snapshot.id));
        UNDERSTUDY_TRY(remove_from_volumes(work, id, snapshot.disks, snapshot.id));
        work.log(fmt::format("merged away '{}'", snapshot.name));
    }
    return {};
}

Result<> forget(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(merge_all(work));  // what was taken since an earlier attempt
    const auto vm = work.memo().at("vm").get<model::Vm>();
    auto files = nlohmann::json::array();
    for (const auto& disk : vm.disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->head(disk.volume);
        if (head && *head) files.push_back((*head)->location);
        auto forgotten = (*pool)->forget(disk.volume, false);
        if (!forgotten && forgotten.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(forgotten.error()));
    }
    auto restored = site.hypervisor.set_autostart(vm.id, vm.autostart);
    if (!restored && restored.error().kind() != ErrorKind::not_found)
        return std::unexpected(std::move(restored.error()));
    auto removed = site.catalog.remove_vm(vm.id);
    if (!removed && removed.error().kind() != ErrorKind::not_found)
        return std::unexpected(std::move(removed.error()));
    work.result()["files"] = files;
    return {};
}

}  // namespace

Kind release() {
    return Kind{
        "release",
        {{"let_go_of_peers", let_go_of_peers}, {"merge_all", merge_all}, {"forget", forget, true}},
        finish_merge,
        true};
}

}  // namespace understudy::tasks
