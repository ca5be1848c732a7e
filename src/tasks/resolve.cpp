#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "tasks/arguments.hpp"
#include "tasks/branch.hpp"
#include "tasks/import_parts.hpp"
#include "tasks/kinds.hpp"
#include "tasks/ownership_news.hpp"
#include "tasks/parts.hpp"
#include "tasks/roles.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// Two lines of one VM: this cluster's, which was superseded, and its owner's. The operator says
// which one goes on; the other's writes stay as a snapshot, held as a branch. Or one line, given
// away to a cluster that was lost before it answered.

namespace understudy::tasks {
namespace {

Result<model::Vm> vm_of(Work& work) {
    return work.site().catalog.vm(id_in<VmId>(work.arguments(), "vm"));
}

bool keeps_here(Work& work) {
    return text_in(work.arguments(), "keep") == "here";
}

// The owner gives way only when it hears of a later epoch, and what it wrote until then would be a
// branch of its own: its VM must be down first.
Result<> check_owner_is_down(Work& work, const model::Vm& vm) {
    if (flag_in(work.arguments(), "even_if_owner_runs")) return {};
    auto& site = work.site();
    const auto owner = cluster_name(site, vm.ownership.owner);
    auto link = site.peers.to(vm.ownership.owner);
    if (!link) return std::unexpected(std::move(link.error()));
    auto there = (*link)->look_up_state(vm.id);
    if (!there)
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}', which owns VM '{}', does not answer: {}",
                                                  owner, vm.name, there.error().what()))
                .advising("Resolve when it answers. If it is lost for good, "
                          "--even-if-owner-runs goes on; should it run there all the "
                          "same, the VM runs twice."));
    if (there->state == "stopped" || there->state == "undefined") return {};
    if (there->known && there->ownership.owner != vm.ownership.owner)
        return fail(
            Error(ErrorKind::refused,
                  fmt::format("'{}' does not own VM '{}' any more: '{}' does, at epoch {}", owner,
                              vm.name, cluster_name(site, there->ownership.owner),
                              there->ownership.epoch))
                .advising(
                    "Resolve when that cluster has been heard from: `understudy peer list`."));
    return fail(Error(ErrorKind::refused,
                      fmt::format("the VM is '{}' on '{}', which owns it",
                                  there->state.empty() ? "perhaps running" : there->state, owner))
                    .advising(fmt::format("Stop it there first: `understudy vm shutdown {}`.",
                                          base::shell_word(vm.name))));
}

// Of two that were asked for, one decides; the other one finds it decided.
Result<> check_no_other_decides(Work& work, const VmId& vm) {
    auto active = work.site().catalog.tasks({vm, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active) {
        if (task.id == work.task().id || task.kind != kResolve) continue;
        if (nlohmann::json::parse(task.memo, nullptr, false).contains("next"))
            return fail(ErrorKind::conflict, fmt::format("'{}' is not finished", task.title));
    }
    return {};
}

Result<> check(Work& work) {
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (work.memo().contains("next") &&
        work.memo().at("next").get<model::Ownership>() == vm->ownership)
        return {};  // an earlier attempt decided it already
    UNDERSTUDY_TRY(check_no_other_decides(work, vm->id));
    // From the memo below on nobody begins one any more.
    UNDERSTUDY_TRY(check_no_snapshot_is_half_done(work.site(), vm->id, work.task().id));
    auto next = keeps_here(work) ? engine::kept_here(vm->ownership, work.site().cluster.id)
                                 : engine::kept_there(vm->ownership);
    if (!next) return std::unexpected(std::move(next.error()));
    if (keeps_here(work)) {
        auto presence = presence_of(work.site(), vm->id);
        if (!presence) return std::unexpected(std::move(presence.error()));
        if (*presence == Presence::undefined)
            return fail(Error(ErrorKind::refused,
                              fmt::format("VM '{}' is not defined in libvirt here: there is no "
                                          "line to go on with",
                                          vm->name))
                            .advising("--keep-there makes it a replica, which can be promoted."));
        UNDERSTUDY_TRY(check_owner_is_down(work, *vm));
    }
    work.memo()["before"] = vm->ownership;
    work.memo()["next"] = *next;
    work.memo()["disks"] = vm->disks;
    work.memo()["head_parent"] = vm->head_parent ? vm->head_parent->text() : std::string();
    return {};
}

// The line here can be copied: the VM is defined, and stands still (paused by the news that it was
// superseded, or stopped).
Result<> check_line_can_be_kept(Site& site, const model::Vm& vm) {
    auto described = site.hypervisor.describe(vm.id);
    if (!described && described.error().kind() == ErrorKind::not_found)
        return fail(
            Error(ErrorKind::refused,
                  fmt::format("VM '{}' is not defined in libvirt here: there is no line to make a "
                              "VM of",
                              vm.name))
                .advising("--keep-there makes it a replica again. After that --as-new-vm makes a "
                          "VM of the branch that was kept, if there is one."));
    if (!described) return std::unexpected(std::move(described.error()));
    if (described->summary.state == ports::VmState::running)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("VM '{}' runs here, although it is superseded", vm.name))
                        .advising(fmt::format("It is paused when its owner is heard again; "
                                              "`understudy vm stop {}` stops it now.",
                                              base::shell_word(vm.name))));
    return {};
}

bool is_decided(Work& work, const model::Vm& vm) {
    return vm.ownership == work.memo().at("next").get<model::Ownership>();
}

// The line here as a VM of its own, under a name and identity that nobody has: its disks are
// copied, so that neither VM ever depends on the other. Before anything is decided: what goes wrong
// leaves the VM superseded, with all of both lines.
Result<> keep_as_new_vm(Work& work) {
    const auto name = text_in(work.arguments(), "as_new_vm");
    if (name.empty()) return {};
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (is_decided(work, *vm)) return {};
    UNDERSTUDY_TRY(check_line_can_be_kept(site, *vm));
    UNDERSTUDY_TRY(check_name_is_free(site, name, id_in<VmId>(work.arguments(), "new_vm")));
    UNDERSTUDY_TRY(see_all_kept(work, vm->id, vm->disks, vm->head_parent));
    auto made = run_part(work, "new_vm", snapshot_import(),
                         {{"of", text_in(work.memo(), "departs_from")},
                          {"vm", text_in(work.arguments(), "new_vm")},
                          {"name", name},
                          {"snapshot", text_in(work.arguments(), "new_snapshot")},
                          {"accept", texts_in(work.arguments(), "accept")}});
    if (!made)
        return fail(std::move(made.error())
                        .during(fmt::format("make '{}' of it", name))
                        .keeping(fmt::format("VM '{}' as it was, superseded", vm->name)));
    work.log(fmt::format("'{}' is a VM of its own here, with what '{}' wrote", name, vm->name));
    return {};
}

// When all is settled: the VM's own line has left its memory to the new one.
Result<> start_new_vm(Work& work) {
    const auto name = text_in(work.arguments(), "as_new_vm");
    if (name.empty()) return {};
    work.result()["started"] = false;
    if (!flag_in(work.arguments(), "start_new_vm")) return {};
    return start_made_vm(work, id_in<VmId>(work.arguments(), "new_vm"), name);
}

// Of a new VM that was half made nothing stays; one that is whole does, and is found again.
// What is decided is completed by `task retry`.
Result<> clean_up(Work& work) {
    if (!work.memo().contains("next")) return {};
    auto vm = work.site().catalog.find_vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (*vm && is_decided(work, **vm)) return {};
    UNDERSTUDY_TRY(undo_parts(work, {snapshot_create(), snapshot_import()}));
    for (const char* noted : {"departs_from", "next"}) work.memo().erase(noted);
    work.begin_again();
    return {};
}

Result<> decide(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    const auto before = work.memo().at("before").get<model::Ownership>();
    const auto next = work.memo().at("next").get<model::Ownership>();
    if (vm->ownership == next) return {};
    if (vm->ownership != before)
        return fail(Error(ErrorKind::refused, "another cluster has taken the VM over meanwhile")
                        .keeping("both lines, as they were")
                        .advising("`understudy task retry` decides on what is known now."));
    UNDERSTUDY_TRY(change_role(site, *vm, next, work.task().actor));
    work.log(fmt::format("'{}' owns '{}' at epoch {}", cluster_name(site, next.owner), vm->name,
                         next.epoch));
    return {};
}

// The line that goes on has no branches: its own snapshots are that line.
Result<> let_go_of_branches(Work& work, const VmId& vm) {
    auto& catalog = work.site().catalog;
    auto holds = catalog.holds(vm);
    if (!holds) return std::unexpected(std::move(holds.error()));
    for (const auto& hold : *holds)
        if (hold.kind == model::HoldKind::branch) UNDERSTUDY_TRY(catalog.remove_hold(hold));
    return {};
}

Result<> go_on_here(Work& work, const model::Vm& vm) {
    auto& site = work.site();
    UNDERSTUDY_TRY(let_go_of_branches(work, vm.id));
    // Told at once where that is possible; the periodic contact does it otherwise.
    auto sharers = sharers_of(site, vm);
    if (!sharers) return std::unexpected(std::move(sharers.error()));
    sharers->insert(work.memo().at("before").get<model::Ownership>().owner);
    for (const auto& peer : *sharers) {
        auto link = site.peers.to(peer);
        if (link && !(*link)->exchange_ownership({{vm.id, vm.ownership}}))
            work.log(fmt::format("'{}' will hear of it when it answers", cluster_name(site, peer)));
    }
    if (!flag_in(work.arguments(), "start", true)) return {};
    auto described = site.hypervisor.describe(vm.id);
    if (!described) return std::unexpected(std::move(described.error()));
    const bool paused = described->summary.state == ports::VmState::paused;
    return paused ? site.hypervisor.resume(vm.id) : site.hypervisor.start(vm.id);
}

Result<> settle(Work& work) {
    auto& site = work.site();
    auto vm = vm_of(work);
    if (!vm) return std::unexpected(std::move(vm.error()));
    const auto next = work.memo().at("next").get<model::Ownership>();
    work.result()["vm"] = vm->name;
    work.result()["kept"] = text_in(work.arguments(), "keep");
    work.result()["owner"] = cluster_name(site, next.owner);
    work.result()["epoch"] = next.epoch;
    work.result()["new_vm"] = text_in(work.arguments(), "as_new_vm");
    if (keeps_here(work)) return go_on_here(work, *vm);
    auto presence = presence_of(site, vm->id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::running) UNDERSTUDY_TRY(site.hypervisor.stop(vm->id));
    const auto head = id_in<SnapshotId>(work.memo(), "head_parent");
    return depart(work, work.memo().at("disks").get<std::vector<model::VmDisk>>(),
                  head.is_nil() ? std::nullopt : std::optional(head));
}

}  // namespace

Kind resolve() {
    return Kind{kResolve,
                {{"check", check},
                 {"keep_as_new_vm", keep_as_new_vm},
                 {"decide", decide, true},
                 {"settle", settle, true},
                 {"start_new_vm", start_new_vm, true}},
                clean_up,
                true};
}

}  // namespace understudy::tasks
