#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/incoming.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/drilling.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/recovery/decision.hpp"
#include "tasks/recovery/kinds.hpp"
#include "tasks/recovery/promoted_boot.hpp"

#include <fmt/format.h>

// A replica becomes the VM. `check` looks at all that could stop it and decides the next epoch;
// `own` makes that epoch durable before anything is defined or started (promise 3); `define` makes
// heads and defines the VM; `start` starts it; `see_it_boot` watches it. A crash before the record
// in `own` leaves the replica as it was; after it the later steps are repeated.

namespace understudy::tasks {
namespace {

const PromoteArguments& arguments_of(Work& work) {
    return work.arguments<PromoteArguments>();
}

PromoteMemo& memo_of(Work& work) {
    return work.memo<PromoteMemo>();
}

PromoteResult& result_of(Work& work) {
    return work.result<PromoteResult>();
}

Result<model::Vm> vm_of(Work& work) {
    return work.site().catalog.vm(arguments_of(work).vm);
}

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(arguments_of(work).snapshot);
}

// While the former owner answers, the promote is refused, and the operator is told to move the VM.
// A promote must never cause two clusters to run one VM.
Result<> check_owner_is_gone(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    if (arguments_of(work).owner_may_answer) return {};
    const auto owner = vm.ownership.owner;
    auto link = site.peers.to(owner);
    if (!link) return {};
    if (!(*link)->look_up(vm.id)) return {};
    const auto name = cluster_name(site, owner);
    return fail(
        Error(ErrorKind::refused, fmt::format("'{}' owns VM '{}' and answers", name, vm.name))
            .keeping("the replica as it was")
            .advising(
                fmt::format("Move it from there: `understudy vm move {}`. If you must take it from "
                            "'{}' although that cluster is alive, use --even-if-owner-answers. The "
                            "VM may then run twice until that cluster learns of it.",
                            base::shell_word(vm.name), name)));
}

// Another replica of the same owner may have been promoted already. Its holder is asked, and what
// it answers is recorded. If it owns the VM at a higher epoch, the promote is refused, unless the
// operator accepts that the owner answers.
Result<> ask_other_holders(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    auto peers = UNDERSTUDY_VALUE(site.catalog.peers());
    for (const auto& peer : peers) {
        if (peer.id == vm.ownership.owner) continue;
        auto link = site.peers.to(peer.id);
        if (!link) continue;
        auto there = (*link)->look_up(vm.id);
        if (!there || !there->known) continue;
        UNDERSTUDY_TRY(apply_peer_ownership(site, peer.id, {{vm.id, there->ownership}}));
        const bool owns = there->ownership.owner == peer.id &&
                          there->ownership.phase == model::Phase::owned &&
                          there->ownership.epoch > vm.ownership.epoch;
        if (!owns || arguments_of(work).owner_may_answer) continue;
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}' now owns VM '{}', at epoch {}", peer.name,
                                                  vm.name, there->ownership.epoch))
                .keeping("the replica as it was")
                .advising("Use the VM there. If you must take it from that cluster, use "
                          "--even-if-owner-answers."));
    }
    return {};
}

// The other holders are told when the new epoch is durable and nothing is started yet: if two
// replicas are promoted at the same time, at least one of them hears of the other here.
Result<> tell_other_holders(Site& site, const model::Vm& vm, const ClusterId& former_owner) {
    auto holders = UNDERSTUDY_VALUE(holders_beside(site, vm, former_owner));
    for (const auto& holder : holders) {
        auto link = site.peers.to(holder);
        if (!link) continue;
        auto reply = (*link)->exchange_ownership({{vm.id, vm.ownership}});
        if (!reply) continue;
        std::erase_if(*reply, [&](const auto& note) { return note.vm != vm.id; });
        UNDERSTUDY_TRY(apply_peer_ownership(site, holder, *reply));
    }
    return {};
}

// A handover was checked and agreed with the former owner before this task was queued
// (take_over.cpp). The arguments say what was agreed.
Result<> check_handover(Work& work, const model::Vm& vm) {
    const auto& agreed = arguments_of(work);
    if (!agreed.before) return fail(ErrorKind::corrupt, "a handover without its former owner");
    if (vm.ownership != *agreed.before && vm.ownership != *agreed.next)
        return fail(Error(ErrorKind::refused,
                          fmt::format("the handover of VM '{}' was taken back", vm.name)));
    memo_of(work).before = agreed.before;
    memo_of(work).next = agreed.next;
    return hold_for_task(work, arguments_of(work).snapshot);
}

// Everything that could stop the promote later is looked at before the epoch is raised.
Result<> check(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    UNDERSTUDY_TRY(check_turn(site, vm.id, Asker::promote, work.task().id));
    // The copies that drills have started here would only take memory from the promoted VM.
    UNDERSTUDY_TRY(cancel_drills(site, vm.id));
    if (arguments_of(work).is_handover()) return check_handover(work, vm);
    if (memo_of(work).next == vm.ownership) return {};  // an earlier attempt owns it already
    UNDERSTUDY_TRY(ask_other_holders(work, vm));
    vm = UNDERSTUDY_VALUE(vm_of(work));
    auto next = UNDERSTUDY_VALUE(engine::promoted(vm.ownership, site.cluster.id));
    UNDERSTUDY_TRY(check_owner_is_gone(work, vm));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    auto adapted =
        UNDERSTUDY_VALUE(rehearse(site, vm.ownership.owner, definition.domain_xml, snapshot.disks));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted.issues, arguments_of(work).accept));
    memo_of(work).before = vm.ownership;
    memo_of(work).next = next;
    return hold_for_task(work, snapshot.id);  // until the VM is on it
}

Result<> release_holds(Work& work) {
    auto vm = vm_of(work);
    if (!vm && vm.error().kind() == ErrorKind::not_found) return {};
    if (!vm) return error_of(vm);
    const bool owned = memo_of(work).next == vm->ownership;
    if (owned && vm->head_parent != arguments_of(work).snapshot)
        return {};  // `task retry` goes on from it
    return let_go_for_task(work, arguments_of(work).snapshot);
}

Result<> own(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    const auto [before, next] = UNDERSTUDY_VALUE(decision_in(memo_of(work)));
    if (vm.ownership != next) {
        if (vm.ownership != before)
            return fail(ErrorKind::refused, "another cluster has taken the VM over meanwhile");
        UNDERSTUDY_TRY(change_role(site, vm, next, work.task().actor));
        vm.ownership = next;
    }
    if (!arguments_of(work).is_handover())
        UNDERSTUDY_TRY(tell_other_holders(site, vm, before.owner));
    vm = UNDERSTUDY_VALUE(vm_of(work));
    if (vm.ownership != next)
        return fail(
            Error(ErrorKind::refused,
                  fmt::format("'{}' promoted VM '{}' at the same time, and keeps it",
                              cluster_name(site, vm.ownership.owner), vm.name))
                .advising("Decide with `understudy replica resolve` which line continues."));
    work.log(fmt::format("'{}' owns '{}' at epoch {}", site.cluster.name, vm.name, next.epoch));
    // The former owner will not complete the transfers that it has begun, so they are given up.
    return end_receiving(site, vm.id);
}

Result<> define(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm.id));
    if (presence == Presence::running) return {};  // an earlier attempt got as far as the start
    auto disks = UNDERSTUDY_VALUE(
        activate_disks(site, snapshot.disks, snapshot.id, ports::ActivationKind::promote));
    const auto decided = UNDERSTUDY_VALUE(decision_in(memo_of(work)));
    auto changes = UNDERSTUDY_VALUE(define_from_snapshot(
        work, snapshot, disks, decided.before.owner, arguments_of(work).accept));
    vm.disks = vm_disks(snapshot.disks);
    vm.head_parent = snapshot.id;
    UNDERSTUDY_TRY(site.catalog.save_vm(vm));
    result_of(work).changes = changes;
    memo_of(work).changes = std::move(changes);
    return {};
}

Result<> start(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    const bool wanted = arguments_of(work).start;
    if (wanted) {
        UNDERSTUDY_TRY(engine::may_start(vm.ownership, site.cluster.id, vm.name,
                                         cluster_name(site, vm.ownership.owner)));
        auto started = site.hypervisor.start(vm.id);
        if (!started)
            return fail(std::move(started.error())
                            .during("start")
                            .keeping("the VM, defined here on the chosen snapshot")
                            .advising(fmt::format(
                                "Correct what is named above, then run `understudy vm start {}`.",
                                base::shell_word(vm.name))));
    }
    UNDERSTUDY_TRY(let_go_for_task(work, snapshot.id));
    auto& result = result_of(work);
    result.vm = vm.name;
    result.snapshot = snapshot;
    result.epoch = vm.ownership.epoch;
    result.started = wanted;
    result.changes = memo_of(work).changes;
    result.rto_ms = (site.clock.now() - work.task().created).count();
    memo_of(work).result_before_boot_check = result;
    return {};
}

}  // namespace

Kind promote() {
    return {.name = kPromote,
            .records = records_of<PromoteArguments, PromoteMemo, PromoteResult>(),
            .steps = {{.name = "check", .run = check},
                      {.name = "own", .run = own, .must_go_on = true},
                      {.name = "define", .run = define, .must_go_on = true},
                      {.name = "start", .run = start, .must_go_on = true},
                      {.name = "see_it_boot", .run = see_it_boot, .must_go_on = true}},
            .on_failure = release_holds};
}

}  // namespace understudy::tasks
