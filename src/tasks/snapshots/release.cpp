#include "engine/ownership.hpp"
#include "tasks/disks/removal.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

// Takes Understudy out of a VM again. `let_go_of_peers` removes the holds; `merge_all` removes the
// snapshots, oldest first, so that each layer's bytes move once; `forget` removes the record of the
// VM, which is then on the very files that it had before. After a crash the memo names the snapshot
// whose merge was under way (`merging`): it is finished first, also when the release was cancelled.

namespace understudy::tasks {
namespace {

const ReleaseArguments& arguments_of(Work& work) {
    return work.arguments<ReleaseArguments>();
}

ReleaseMemo& memo_of(Work& work) {
    return work.memo<ReleaseMemo>();
}

ReleaseResult& result_of(Work& work) {
    return work.result<ReleaseResult>();
}

Result<> let_go_of_peers(Work& work) {
    auto& catalog = work.site().catalog;
    auto vm = UNDERSTUDY_VALUE(catalog.vm(arguments_of(work).vm));
    if (vm.ownership.phase != model::Phase::owned)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is not owned here", vm.name))
                        .advising("Remove a replica with `understudy replica remove`."));
    auto holds = UNDERSTUDY_VALUE(catalog.holds(vm.id));
    for (const auto& hold : holds)
        if (hold.kind == model::HoldKind::transfer || hold.kind == model::HoldKind::drill)
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("a {} of VM '{}' is not finished",
                                  hold.kind == model::HoldKind::drill ? "drill" : "transfer",
                                  vm.name))
                    .keeping("the VM and its snapshots as they were")
                    .advising("Let it end or cancel it: `understudy task list`."));
    for (const auto& hold : holds) UNDERSTUDY_TRY(catalog.remove_hold(hold));
    memo_of(work).vm = vm;
    return {};
}

// Another release may have merged a layer of the stopped VM without being able to tell libvirt yet.
// A second one would leave the VM defined with a file that is gone.
Result<> check_no_other_release(Work& work) {
    const auto other = UNDERSTUDY_VALUE(
        find_left(work.site(), arguments_of(work).vm, Doing::releases, work.task().id));
    if (!other) return {};
    return fail(Error(ErrorKind::conflict, fmt::format("'{}' is not finished", other->title))
                    .advising(fmt::format("`understudy task retry {}` completes it.",
                                          other->id.text().substr(0, 8))));
}

// The VM's writes must be where they are about to be merged.
Result<> check_heads(Work& work) {
    auto& site = work.site();
    const auto id = arguments_of(work).vm;
    auto described = site.hypervisor.describe(id);
    if (!described && described.error().kind() == ErrorKind::not_found) return {};
    if (!described) return error_of(described);
    auto disks = UNDERSTUDY_VALUE(known_disks(site, id));
    for (const auto& disk : disks) {
        auto attached = reconcile_attached_disk(site, *described, disk);
        if (!attached && attached.error().kind() != ErrorKind::not_found) return error_of(attached);
    }
    return {};
}

// A stopped VM may be defined with a layer that is merged away already: also a release that is
// cancelled there goes on to where the VM can start.
Result<> finish_merge(Work& work) {
    if (!memo_of(work).merging) return {};
    const auto interrupted = *memo_of(work).merging;
    auto listed = UNDERSTUDY_VALUE(work.site().catalog.find_snapshot(interrupted.id));
    if (listed) return {};
    return remove_from_volumes(work, memo_of(work).follow, interrupted.vm, interrupted.disks,
                               interrupted.id);
}

Result<> merge_all(Work& work) {
    auto& catalog = work.site().catalog;
    const auto id = arguments_of(work).vm;
    auto vm = UNDERSTUDY_VALUE(catalog.find_vm(id));
    if (!vm) return {};  // an earlier attempt got as far as the last line of `forget`
    // Between two attempts other tasks of this VM may have run.
    UNDERSTUDY_TRY(check_turn(work.site(), id, Asker::layers));
    UNDERSTUDY_TRY(check_no_other_release(work));
    UNDERSTUDY_TRY(let_go_of_peers(work));
    UNDERSTUDY_TRY(check_heads(work));
    auto snapshots = UNDERSTUDY_VALUE(catalog.snapshots(id));
    UNDERSTUDY_TRY(finish_merge(work));
    for (const auto& snapshot : snapshots) {
        UNDERSTUDY_TRY(work.checkpoint());
        memo_of(work).merging = snapshot;
        UNDERSTUDY_TRY(work.save_memo());
        UNDERSTUDY_TRY(catalog.remove_snapshot(snapshot.id));
        UNDERSTUDY_TRY(
            remove_from_volumes(work, memo_of(work).follow, id, snapshot.disks, snapshot.id));
        work.log(fmt::format("removed '{}' by merging", snapshot.name));
    }
    return {};
}

Result<> forget(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(merge_all(work));  // snapshots that were taken since an earlier attempt
    if (!memo_of(work).vm) return fail(ErrorKind::corrupt, "the memo does not name the VM's disks");
    const auto vm = *memo_of(work).vm;
    std::vector<std::string> files;
    for (const auto& disk : vm.disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto head = pool->head(disk.volume);
        if (head && *head) files.push_back((*head)->location);
        auto forgotten = pool->forget(disk.volume, false);
        if (!forgotten && forgotten.error().kind() != ErrorKind::not_found)
            return error_of(forgotten);
    }
    auto restored = site.hypervisor.set_autostart(vm.id, vm.autostart);
    if (!restored && restored.error().kind() != ErrorKind::not_found) return error_of(restored);
    auto removed = site.catalog.remove_vm(vm.id);
    if (!removed && removed.error().kind() != ErrorKind::not_found) return error_of(removed);
    result_of(work).files = files;
    return {};
}

}  // namespace

Kind release() {
    return {.name = kRelease,
            .records = records_of<ReleaseArguments, ReleaseMemo, ReleaseResult>(),
            .steps = {{.name = "let_go_of_peers", .run = let_go_of_peers},
                      {.name = "merge_all", .run = merge_all},
                      {.name = "forget", .run = forget, .must_go_on = true}},
            .on_failure = finish_merge};
}

}  // namespace understudy::tasks
