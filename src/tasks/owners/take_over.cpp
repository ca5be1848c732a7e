#include "tasks/owners/take_over.hpp"

#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/incoming.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/recovery_records.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

// A handover, at its target. take_over checks that the last snapshot is here and that the VM can
// run here; then it notes the former owner as the peer to send to, queues the promote, and records
// the new owner. A crash before the promote is queued leaves a replica, and the source asks again;
// after that the promote makes the record itself. decline gives the VM back to the source.

namespace understudy::tasks {
namespace {

// A VM that is none of the peer's business is answered like a VM that is not here.
Result<std::optional<model::Vm>> vm_shared_with(Site& site, const ClusterId& peer, const VmId& id) {
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!vm) return std::nullopt;
    auto shared = UNDERSTUDY_VALUE(shared_with(site, *vm, peer));
    if (!shared) return std::nullopt;
    return vm;
}

Result<model::Snapshot> last_snapshot(Site& site, const ports::Handover& handover) {
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.find_snapshot(handover.snapshot));
    if (!snapshot || snapshot->vm != handover.vm)
        return fail(ErrorKind::conflict, "the last snapshot of the VM is not here");
    return std::move(*snapshot);
}

Result<> check_nobody_else_decides(Site& site, const VmId& vm) {
    const auto other = UNDERSTUDY_VALUE(find_in_the_way(site, vm, Asker::take_over, std::nullopt));
    if (!other) return {};
    if (other->doing == Doing::removes_replica)
        return fail(ErrorKind::refused, "the replica there is being removed");
    // That task has still to remove what the VM was here before.
    if (other->doing == Doing::moves)
        return fail(ErrorKind::unavailable,
                    fmt::format("'{}' is not finished there", other->task.title));
    // That promote may be to another snapshot. It goes first, and this request is asked again after
    // it.
    return fail(ErrorKind::unavailable, "the replica there is being promoted");
}

Result<> check_can_run(Site& site, const ClusterId& from, const model::Vm& vm,
                       const model::Snapshot& snapshot, const std::vector<std::string>& accept) {
    if (!site.settings.takes_handovers)
        return fail(
            Error(
                ErrorKind::refused,
                fmt::format("'{}' does not take VMs over by a handover (accept_handovers = false)",
                            site.cluster.name))
                .advising(
                    fmt::format("Set accept_handovers = true there. Or stop the VM and understudyd "
                                "here, and then run `understudy replica promote {}` there.",
                                vm.name)));
    UNDERSTUDY_TRY(check_nobody_else_decides(site, vm.id));
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    auto adapted = UNDERSTUDY_VALUE(rehearse(site, from, definition.domain_xml, snapshot.disks));
    return engine::check_obstacles(adapted.issues, accept);
}

// Whether the promote is queued already, by an earlier call or before a crash.
Result<bool> is_queued(Site& site, const VmId& vm, const model::Ownership& next) {
    const auto tasks = UNDERSTUDY_VALUE(site.catalog.tasks_of_kind(vm, std::string(kPromote)));
    for (const auto& task : tasks) {
        const auto arguments = arguments_in<PromoteArguments>(task);
        if (arguments && arguments->next == next) return true;
    }
    return false;
}

Result<> queue_start(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                     const ports::Handover& handover, const model::Ownership& next) {
    auto queued = UNDERSTUDY_VALUE(is_queued(site, vm.id, next));
    if (queued) return {};
    return site.catalog.add_task(new_task(site, kPromote, vm.id,
                                          fmt::format("take over {}@{}", vm.name, snapshot.name),
                                          PromoteArguments{.vm = vm.id,
                                                           .snapshot = snapshot.id,
                                                           .start = handover.start,
                                                           .accept = handover.accept,
                                                           .before = vm.ownership,
                                                           .next = next}));
}

// From now on the former owner is the peer to send to, and it has that snapshot.
Result<> swap_roles(Site& site, const ClusterId& from, const model::Vm& vm,
                    const model::Snapshot& snapshot, bool autostart) {
    auto changed = vm;
    changed.autostart = autostart;
    UNDERSTUDY_TRY(site.catalog.save_vm(changed));
    UNDERSTUDY_TRY(site.catalog.note_sent(from, snapshot.id));
    model::Replication there;
    there.vm = vm.id;
    there.peer = from;
    there.snapshot = snapshot.id;
    there.snapshot_taken = snapshot.taken;
    there.sent = site.clock.now();
    there.readiness = "[]";
    return site.catalog.save_replication(there);
}

Result<model::Ownership> accept_handover(Site& site, const ClusterId& from,
                                         const ports::Handover& handover) {
    auto vm = UNDERSTUDY_VALUE(vm_shared_with(site, from, handover.vm));
    if (!vm) return fail(ErrorKind::conflict, "there is no replica of the VM");
    const auto& offered = handover.ownership;
    if (offered.owner != site.cluster.id || offered.phase != model::Phase::handing_over)
        return fail(ErrorKind::invalid, "the VM is not offered to this cluster");
    const auto here = vm->ownership;
    auto next = engine::taken_over(here, offered, site.cluster.id, from);
    if (!next || *next == here) return next;
    auto snapshot = UNDERSTUDY_VALUE(last_snapshot(site, handover));
    UNDERSTUDY_TRY(check_can_run(site, from, *vm, snapshot, handover.accept));
    UNDERSTUDY_TRY(run_between_points(
        site.settings.at_point, handover.vm, "take_over.swap_roles",
        [&] { return swap_roles(site, from, *vm, snapshot, handover.autostart); }));
    UNDERSTUDY_TRY(
        run_between_points(site.settings.at_point, handover.vm, "take_over.queue_start",
                           [&] { return queue_start(site, *vm, snapshot, handover, *next); }));
    UNDERSTUDY_TRY(run_between_points(site.settings.at_point, handover.vm, "take_over.record", [&] {
        return change_role(site, *vm, *next, "peer " + cluster_name(site, from));
    }));
    site.bells->queued.ring();
    return next;
}

}  // namespace

Result<model::Ownership> take_over(Site& site, const ClusterId& from,
                                   const ports::Handover& handover) {
    Result<model::Ownership> taken;
    UNDERSTUDY_TRY(between_offers(site, [&]() -> Result<> {
        taken = accept_handover(site, from, handover);
        return {};
    }));
    return taken;
}

Result<model::Ownership> decline(Site& site, const ClusterId& from, const VmId& id,
                                 const model::Ownership& offered) {
    // A VM that is not here needs no record of this: it cannot be taken over before its last
    // snapshot has come, and that would come from an owner with a later epoch.
    auto answer = model::Ownership{offered.epoch + 1, from, model::Phase::replica};
    const auto record = [&]() -> Result<> {
        auto vm = UNDERSTUDY_VALUE(vm_shared_with(site, from, id));
        if (!vm) return {};
        answer = engine::declined(vm->ownership, offered, from);
        if (answer == vm->ownership) return {};
        spdlog::info("VM '{}': '{}' withdraws its handover", vm->name, cluster_name(site, from));
        return run_between_points(site.settings.at_point, id, "decline.record", [&] {
            return change_role(site, *vm, answer, "peer " + cluster_name(site, from));
        });
    };
    UNDERSTUDY_TRY(between_offers(site, record));
    return answer;
}

Result<> fill_vm_state(Site& site, const VmId& vm, ports::PeerVm& answer) {
    auto described = site.hypervisor.describe(vm);
    if (!described && described.error().kind() != ErrorKind::not_found) return error_of(described);
    using ports::VmState;
    answer.state = !described                                     ? "undefined"
                   : described->summary.state == VmState::running ? "running"
                   : described->summary.state == VmState::paused  ? "paused"
                                                                  : "stopped";
    if (answer.state == "running") return {};
    const auto tasks = UNDERSTUDY_VALUE(site.catalog.tasks_of_kind(vm, std::string(kPromote)));
    if (tasks.empty()) return {};
    const auto& newest = tasks.front();
    if (newest.state != model::TaskState::succeeded) answer.trouble = newest.error;
    return {};
}

}  // namespace understudy::tasks
