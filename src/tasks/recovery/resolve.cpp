#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/files/import_parts.hpp"
#include "tasks/files/kinds.hpp"
#include "tasks/owners/branch.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/file_records.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/recovery/decision.hpp"
#include "tasks/recovery/kinds.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

// Two lines of one VM: this cluster's, which was superseded, and its owner's; or one line, given
// away to a cluster that was lost before it answered. The operator says which one goes on. `check`
// looks; `keep_as_new_vm` copies the line here to a VM of its own; `decide` records the owner;
// `settle` goes on with the VM here, or removes it and keeps its writes as a branch. Before
// `decide` nothing of either line is given up; a crash after it repeats the later steps.

namespace understudy::tasks {
namespace {

const ResolveArguments& arguments_of(Work& work) {
    return work.arguments<ResolveArguments>();
}

ResolveMemo& memo_of(Work& work) {
    return work.memo<ResolveMemo>();
}

ResolveResult& result_of(Work& work) {
    return work.result<ResolveResult>();
}

Result<model::Vm> vm_of(Work& work) {
    return work.site().catalog.vm(arguments_of(work).vm);
}

bool keeps_here(Work& work) {
    return arguments_of(work).keep == "here";
}

// The owner gives way only when it hears of a later epoch, and what it wrote until then would be a
// branch of its own: its VM must be down first.
Result<> check_owner_is_down(Work& work, const model::Vm& vm) {
    if (arguments_of(work).even_if_owner_runs) return {};
    auto& site = work.site();
    const auto owner = cluster_name(site, vm.ownership.owner);
    auto link = UNDERSTUDY_VALUE(site.peers.to(vm.ownership.owner));
    auto there = link->look_up_state(vm.id);
    if (!there)
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}' owns VM '{}' and does not answer: {}",
                                                  owner, vm.name, there.error().what()))
                .advising(
                    "Resolve when it answers. If it is lost for good, use --even-if-owner-runs. If "
                    "the VM runs there nevertheless, it runs twice."));
    if (there->state == "stopped" || there->state == "undefined") return {};
    if (there->known && there->ownership.owner != vm.ownership.owner)
        return fail(
            Error(ErrorKind::refused,
                  fmt::format("'{}' does not own VM '{}' any more; '{}' owns it at epoch {}", owner,
                              vm.name, cluster_name(site, there->ownership.owner),
                              there->ownership.epoch))
                .advising("Resolve when that cluster can be reached: `understudy peer list`."));
    return fail(Error(ErrorKind::refused,
                      fmt::format("the VM is in state '{}' on its owner '{}'",
                                  there->state.empty() ? "perhaps running" : there->state, owner))
                    .advising(fmt::format("Stop it there first: `understudy vm shutdown {}`.",
                                          base::shell_word(vm.name))));
}

Result<> check(Work& work) {
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    if (memo_of(work).next == vm.ownership) return {};  // an earlier attempt decided it already
    // If two resolves are queued, the first to record `next` decides; the other waits, and finds it
    // decided.
    UNDERSTUDY_TRY(check_turn(work.site(), vm.id, Asker::resolve, work.task().id));
    // Once the memo below is saved, no snapshot of this VM begins any more; those that have begun
    // must be over.
    UNDERSTUDY_TRY(check_turn(work.site(), vm.id, Asker::decision, work.task().id));
    auto next =
        UNDERSTUDY_VALUE(keeps_here(work) ? engine::kept_here(vm.ownership, work.site().cluster.id)
                                          : engine::kept_there(vm.ownership));
    if (keeps_here(work)) {
        auto presence = UNDERSTUDY_VALUE(presence_of(work.site(), vm.id));
        if (presence == Presence::undefined)
            return fail(
                Error(ErrorKind::refused, fmt::format("VM '{}' is not defined in libvirt here: "
                                                      "there is no line here that could continue",
                                                      vm.name))
                    .advising("--keep-there makes it a replica, which can be promoted."));
        UNDERSTUDY_TRY(check_owner_is_down(work, vm));
    }
    memo_of(work).before = vm.ownership;
    memo_of(work).next = next;
    memo_of(work).disks = vm.disks;
    memo_of(work).head_parent = vm.head_parent;
    return {};
}

// The line here can be copied: the VM is defined, and stands still (paused by the news that it was
// superseded, or stopped).
Result<> check_line_can_be_kept(Site& site, const model::Vm& vm) {
    auto described = site.hypervisor.describe(vm.id);
    if (!described && described.error().kind() == ErrorKind::not_found)
        return fail(
            Error(ErrorKind::refused, fmt::format("VM '{}' is not defined in libvirt here: there "
                                                  "is no line here from which a VM could be made",
                                                  vm.name))
                .advising("--keep-there makes it a replica again. After that --as-new-vm makes a "
                          "VM of the branch that was kept, if there is one."));
    if (!described) return error_of(described);
    if (described->summary.state == ports::VmState::running)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("VM '{}' runs here, although it is superseded", vm.name))
                        .advising(fmt::format("It will be paused when this cluster reaches its "
                                              "owner again. `understudy vm stop {}` stops it now.",
                                              base::shell_word(vm.name))));
    return {};
}

bool is_decided(Work& work, const model::Vm& vm) {
    return memo_of(work).next == vm.ownership;
}

// The line here as a VM of its own, under a name and identity that nobody has: its disks are
// copied, so that neither VM ever depends on the other. This comes before anything is decided: if
// it fails, the VM stays superseded, and both lines are whole.
Result<> keep_as_new_vm(Work& work) {
    const auto name = arguments_of(work).as_new_vm;
    if (name.empty()) return {};
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    if (is_decided(work, vm)) return {};
    UNDERSTUDY_TRY(check_line_can_be_kept(site, vm));
    UNDERSTUDY_TRY(check_name_is_free(site, name, arguments_of(work).new_vm.value_or(VmId{})));
    UNDERSTUDY_TRY(see_all_kept(work, memo_of(work).departs_from, vm.id, vm.disks, vm.head_parent));
    const auto& asked = arguments_of(work);
    auto made =
        run_part<SnapshotImportResult>(work, "new_vm", snapshot_import(),
                                       SnapshotImportArguments{.vm = asked.new_vm.value_or(VmId{}),
                                                               .of = memo_of(work).departs_from,
                                                               .name = name,
                                                               .snapshot = asked.new_snapshot,
                                                               .accept = asked.accept});
    if (!made)
        return fail(std::move(made.error())
                        .during(fmt::format("make '{}' of it", name))
                        .keeping(fmt::format("VM '{}' as it was, superseded", vm.name)));
    work.log(fmt::format("'{}' is a separate VM here, with what '{}' wrote", name, vm.name));
    return {};
}

// Started last: the VM whose line was given up no longer uses the memory that the new one needs.
Result<> start_new_vm(Work& work) {
    const auto name = arguments_of(work).as_new_vm;
    if (name.empty()) return {};
    result_of(work).started = false;
    if (!arguments_of(work).start_new_vm) return {};
    UNDERSTUDY_TRY(start_made_vm(work, arguments_of(work).new_vm.value_or(VmId{}), name));
    result_of(work).started = true;
    return {};
}

// Before the decision: a half-made new VM is removed; a complete one stays, and a retry finds it.
// After the decision nothing is undone: `task retry` completes it.
Result<> clean_up(Work& work) {
    if (!memo_of(work).next) return {};
    auto vm = UNDERSTUDY_VALUE(work.site().catalog.find_vm(arguments_of(work).vm));
    if (vm && is_decided(work, *vm)) return {};
    UNDERSTUDY_TRY(undo_parts(work, {snapshot_create(), snapshot_import()}));
    work.begin_again();
    return {};
}

Result<> decide(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    const auto [before, next] = UNDERSTUDY_VALUE(decision_in(memo_of(work)));
    if (vm.ownership == next) return {};
    if (vm.ownership != before)
        return fail(
            Error(ErrorKind::refused, "another cluster has taken the VM over meanwhile")
                .keeping("both lines, as they were")
                .advising("`understudy task retry` decides again, with what is known now."));
    UNDERSTUDY_TRY(change_role(site, vm, next, work.task().actor));
    work.log(fmt::format("'{}' owns '{}' at epoch {}", cluster_name(site, next.owner), vm.name,
                         next.epoch));
    return {};
}

// The line that goes on has no branches: its own snapshots are that line.
Result<> let_go_of_branches(Work& work, const VmId& vm) {
    auto& catalog = work.site().catalog;
    auto holds = UNDERSTUDY_VALUE(catalog.holds(vm));
    for (const auto& hold : holds)
        if (hold.kind == model::HoldKind::branch) UNDERSTUDY_TRY(catalog.remove_hold(hold));
    return {};
}

Result<> go_on_here(Work& work, const model::Vm& vm, const ClusterId& former_owner) {
    auto& site = work.site();
    UNDERSTUDY_TRY(let_go_of_branches(work, vm.id));
    // Told at once where that is possible; the periodic contact does it otherwise.
    auto sharers = UNDERSTUDY_VALUE(sharers_of(site, vm));
    sharers.insert(former_owner);
    for (const auto& peer : sharers) {
        auto link = site.peers.to(peer);
        if (link && !(*link)->exchange_ownership({{vm.id, vm.ownership}}))
            work.log(
                fmt::format("'{}' will learn of it when it answers", cluster_name(site, peer)));
    }
    if (!arguments_of(work).start) return {};
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(vm.id));
    const bool paused = described.summary.state == ports::VmState::paused;
    return paused ? site.hypervisor.resume(vm.id) : site.hypervisor.start(vm.id);
}

Result<> apply_decision(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(vm_of(work));
    const auto [before, next] = UNDERSTUDY_VALUE(decision_in(memo_of(work)));
    result_of(work).vm = vm.name;
    result_of(work).kept = arguments_of(work).keep;
    result_of(work).owner = cluster_name(site, next.owner);
    result_of(work).epoch = next.epoch;
    result_of(work).new_vm = arguments_of(work).as_new_vm;
    if (keeps_here(work)) return go_on_here(work, vm, before.owner);
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm.id));
    if (presence == Presence::running) UNDERSTUDY_TRY(site.hypervisor.stop(vm.id));
    auto& memo = memo_of(work);
    return depart(work, memo.departs_from, vm.id, memo.disks, memo.head_parent);
}

}  // namespace

Kind resolve() {
    return {.name = kResolve,
            .records = records_of<ResolveArguments, ResolveMemo, ResolveResult>(),
            .steps = {{.name = "check", .run = check},
                      {.name = "keep_as_new_vm", .run = keep_as_new_vm},
                      {.name = "decide", .run = decide, .must_go_on = true},
                      {.name = "settle", .run = apply_decision, .must_go_on = true},
                      {.name = "start_new_vm", .run = start_new_vm, .must_go_on = true}},
            .on_failure = clean_up};
}

}  // namespace understudy::tasks
