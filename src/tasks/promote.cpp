#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/arguments.hpp"
#include "tasks/drilling.hpp"
#include "tasks/kinds.hpp"
#include "tasks/ownership_news.hpp"
#include "tasks/promoted_boot.hpp"
#include "tasks/roles.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// Promise 3 lives in the order of these steps: `own` makes the new epoch durable before anything
// is defined or started; every later step can be repeated.

namespace understudy::tasks {
namespace {

Result<model::Vm> vm_of(Work& work) {
    return work.site().catalog.vm(id_in<VmId>(work.arguments(), "vm"));
}

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
}

// The former owner, while it answers, is asked to move the VM instead: two clusters that both run
// it is what promote must never cause.
Result<> check_owner_is_gone(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    if (flag_in(work.arguments(), "owner_may_answer")) return {};
    const auto owner = vm.ownership.owner;
    auto link = site.peers.to(owner);
    if (!link) return {};
    if (!(*link)->look_up(vm.id)) return {};
    const auto name = cluster_name(site, owner);
    return fail(
        Error(ErrorKind::refused, fmt::format("'{}', which owns VM '{}', answers", name, vm.name))
            .keeping("the replica as it was")
            .advising(fmt::format(
                "Move it from there: `understudy vm move {}`. If '{}' must lose it while it "
                "lives, --even-if-owner-answers promotes it all the same; the VM may then run "
                "twice until that cluster hears of it.",
                base::shell_word(vm.name), name)));
}

// Another replica of the same owner may have been promoted already: where it is known of, what it
// says counts from now on; where it is not, or the record must not be touched, it is a refusal.
Result<> ask_other_holders(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    auto peers = site.catalog.peers();
    if (!peers) return std::unexpected(std::move(peers.error()));
    for (const auto& peer : *peers) {
        if (peer.id == vm.ownership.owner) continue;
        auto link = site.peers.to(peer.id);
        if (!link) continue;
        auto there = (*link)->look_up(vm.id);
        if (!there || !there->known) continue;
        UNDERSTUDY_TRY(hear_ownership(site, peer.id, {{vm.id, there->ownership}}));
        const bool owns = there->ownership.owner == peer.id &&
                          there->ownership.phase == model::Phase::owned &&
                          there->ownership.epoch > vm.ownership.epoch;
        if (!owns || flag_in(work.arguments(), "owner_may_answer")) continue;
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}' owns VM '{}' by now, at epoch {}",
                                                  peer.name, vm.name, there->ownership.epoch))
                .keeping("the replica as it was")
                .advising("Use the VM there. If that cluster must lose it, "
                          "--even-if-owner-answers promotes it here all the same."));
    }
    return {};
}

// With the new epoch durable and nothing started: of two replicas that are promoted at the same
// time at least one hears of the other here.
Result<> tell_other_holders(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    const auto former = work.memo().at("before").get<model::Ownership>().owner;
    auto holders = holders_beside(site, vm, former);
    if (!holders) return std::unexpected(std::move(holders.error()));
    for (const auto& holder : *holders) {
        auto link = site.peers.to(holder);
        if (!link) continue;
        auto heard = (*link)->exchange_ownership({{vm.id, vm.ownership}});
        if (!heard) continue;
        std::erase_if(*heard, [&](const auto& said) { return said.vm != vm.id; });
        UNDERSTUDY_TRY(hear_ownership(site, holder, *heard));
    }
    return {};
}

bool is_handover(Work& work) {
    return work.arguments().contains("next");
}

// Checked and agreed with the former owner already (take_over.cpp).
Result<> check_handover(Work& work, const model::Vm& vm) {
    const auto before = work.arguments().at("before").get<model::Ownership>();
    const auto next = work.arguments().at("next").get<model::Ownership>();
    if (vm.ownership != before && vm.ownership != next)
        return fail(Error(ErrorKind::refused,
                          fmt::format("the handover of VM '{}' was taken back", vm.name)));
    work.memo()["before"] = before;
    work.memo()["next"] = next;
    return hold_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot"));
}

// Everything that could stop the promote later is looked at before the epoch is raised.
Result<> check(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    UNDERSTUDY_TRY(check_nothing_is_half_done(work));
    UNDERSTUDY_TRY(cancel_drills(site, vm->id));  // they only take memory from it
    if (is_handover(work)) return check_handover(work, *vm);
    if (work.memo().contains("next") &&
        work.memo().at("next").get<model::Ownership>() == vm->ownership)
        return {};  // an earlier attempt owns it already
    UNDERSTUDY_TRY(ask_other_holders(work, *vm));
    vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto next = engine::promoted(vm->ownership, site.cluster.id);
    if (!next) return std::unexpected(std::move(next.error()));
    UNDERSTUDY_TRY(check_owner_is_gone(work, *vm));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto definition = site.catalog.definition(snapshot->id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    auto adapted = rehearse(site, vm->ownership.owner, definition->domain_xml, snapshot->disks);
    if (!adapted) return std::unexpected(std::move(adapted.error()));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted->issues, texts_in(work.arguments(), "accept")));
    work.memo()["before"] = vm->ownership;
    work.memo()["next"] = *next;
    return hold_for_task(work, snapshot->id);  // until the VM is on it
}

Result<> let_go(Work& work) {
    auto vm = vm_of(work);
    if (!vm && vm.error().kind() == ErrorKind::not_found) return {};
    if (!vm) return std::unexpected(std::move(vm.error()));
    const bool owned = work.memo().contains("next") &&
                       work.memo().at("next").get<model::Ownership>() == vm->ownership;
    if (owned && vm->head_parent != id_in<SnapshotId>(work.arguments(), "snapshot"))
        return {};  // `task retry` goes on from it
    return let_go_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot"));
}

Result<> own(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    const auto before = work.memo().at("before").get<model::Ownership>();
    const auto next = work.memo().at("next").get<model::Ownership>();
    if (vm->ownership != next) {
        if (vm->ownership != before)
            return fail(ErrorKind::refused, "another cluster has taken the VM over meanwhile");
        UNDERSTUDY_TRY(change_role(site, *vm, next, work.task().actor));
        vm->ownership = next;
    }
    if (!is_handover(work)) UNDERSTUDY_TRY(tell_other_holders(work, *vm));
    vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (vm->ownership != next)
        return fail(Error(ErrorKind::refused,
                          fmt::format("'{}' promoted VM '{}' at the same time, and keeps it",
                                      cluster_name(site, vm->ownership.owner), vm->name))
                        .advising("`understudy replica resolve` settles which one goes on."));
    work.log(fmt::format("'{}' owns '{}' at epoch {}", site.cluster.name, vm->name, next.epoch));
    // What was still on its way from the former owner never becomes whole.
    return site.end_receiving(vm->id, [] { return Result<>{}; });
}

Result<> define(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto presence = presence_of(site, vm->id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::running) return {};  // an earlier attempt got as far as the start
    auto disks =
        activate_disks(site, snapshot->disks, snapshot->id, ports::ActivationKind::promote);
    if (!disks) return std::unexpected(std::move(disks.error()));
    const auto before = work.memo().at("before").get<model::Ownership>();
    auto changes = define_from_snapshot(work, *snapshot, *disks, before.owner,
                                        texts_in(work.arguments(), "accept"));
    if (!changes) return std::unexpected(std::move(changes.error()));
    vm->disks = vm_disks(snapshot->disks);
    vm->head_parent = snapshot->id;
    UNDERSTUDY_TRY(site.catalog.save_vm(*vm));
    work.result()["changes"] = *changes;
    work.memo()["changes"] = *changes;
    return {};
}

Result<> start(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    const bool wanted = flag_in(work.arguments(), "start", true);
    if (wanted) {
        UNDERSTUDY_TRY(engine::may_start(vm->ownership, site.cluster.id, vm->name,
                                         cluster_name(site, vm->ownership.owner)));
        auto started = site.hypervisor.start(vm->id);
        if (!started)
            return fail(std::move(started.error())
                            .during("start")
                            .keeping("the VM, defined here on the chosen snapshot")
                            .advising(fmt::format("Mend what is named above, then "
                                                  "`understudy vm start {}`.",
                                                  base::shell_word(vm->name))));
    }
    UNDERSTUDY_TRY(let_go_for_task(work, snapshot->id));
    auto& result = work.result();
    result["vm"] = vm->name;
    result["snapshot"] = *snapshot;
    result["epoch"] = vm->ownership.epoch;
    result["started"] = wanted;
    result["changes"] = work.memo().value("changes", nlohmann::json::array());
    result["rto_ms"] = (site.clock.now() - work.task().created).count();
    work.memo()["told"] = result;
    return {};
}

}  // namespace

Kind promote() {
    return Kind{kPromote,
                {{"check", check},
                 {"own", own, true},
                 {"define", define, true},
                 {"start", start, true},
                 {"see_it_boot", see_it_boot, true}},
                let_go,
                true};
}

}  // namespace understudy::tasks
