#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// The VM's disks and definition go back to a snapshot; what the guest wrote after its newest
// snapshot is given up (the command line says so and asks). Snapshots stay, all of them.

namespace understudy::tasks {
namespace {

Result<> check(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    UNDERSTUDY_TRY(engine::may_start(vm->ownership, site.cluster.id, vm->name,
                                     cluster_name(site, vm->ownership.owner)));
    auto presence = presence_of(site, vm->id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::running)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is running", vm->name))
                        .keeping("everything as it was")
                        .advising(fmt::format("Shut it down first: `understudy vm shutdown {}`.",
                                              base::shell_word(vm->name))));
    return {};
}

// Until the VM is on it, the snapshot must stay: the head that was there may be gone.
Result<> hold(Work& work) {
    UNDERSTUDY_TRY(check(work));
    return hold_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot"));
}

Result<> let_go(Work& work) {
    // A half-done one goes on from it with `task retry`, unless it may not go on at all.
    const bool refused = work.task().error_kind == to_string(ErrorKind::refused);
    if (work.memo().contains("going") && !refused) return {};
    return let_go_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot"));
}

Result<> go_back(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(hold(work));
    work.memo()["going"] = true;
    UNDERSTUDY_TRY(work.save_memo());
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto snapshot = site.catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto disks =
        activate_disks(site, snapshot->disks, snapshot->id, ports::ActivationKind::rollback);
    if (!disks) return std::unexpected(std::move(disks.error()));
    auto changes = define_from_snapshot(work, *snapshot, *disks, site.cluster.id, {});
    if (!changes) return std::unexpected(std::move(changes.error()));
    vm->disks = vm_disks(snapshot->disks);
    vm->head_parent = snapshot->id;
    UNDERSTUDY_TRY(site.catalog.save_vm(*vm));
    work.result()["rolled_back_to"] = snapshot->name;
    work.memo().erase("going");
    return let_go(work);
}

}  // namespace

Kind snapshot_rollback() {
    return Kind{"snapshot_rollback", {{"hold", hold}, {"go_back", go_back, true}}, let_go, true};
}

}  // namespace understudy::tasks
