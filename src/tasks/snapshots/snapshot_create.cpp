#include "engine/ownership.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/kinds.hpp"
#include "tasks/snapshots/snapshot_moment.hpp"

#include <fmt/format.h>

// The order, and what a crash leaves: `plan` records which volumes the disks are, before any is
// made; `adopt` makes them; `prepare` makes the future heads, which nothing uses yet; `moment`
// switches the VM to them in one step, and snapshots the disks in place whose pools have no
// overlays; `commit` lets the pools record what is frozen; `publish` makes the snapshot exist.
// Before `moment` everything can be undone, after it everything goes forward.

namespace understudy::tasks {
namespace {

using model::VmDisk;

const SnapshotCreateArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotCreateArguments>();
}

SnapshotCreateMemo& memo_of(Work& work) {
    return work.memo<SnapshotCreateMemo>();
}

SnapshotCreateResult& result_of(Work& work) {
    return work.result<SnapshotCreateResult>();
}

struct Subject {
    ports::VmDescription described;
    model::Vm vm;
    bool is_new = false;
};

Result<> check_disks(const ports::VmDescription& described) {
    std::string texts;
    for (const auto& disk : described.disks)
        if (!disk.unsupported.empty())
            texts +=
                fmt::format("{}{}: {}", texts.empty() ? "" : "; ", disk.target, disk.unsupported);
    if (!texts.empty())
        return fail(Error(ErrorKind::unsupported, texts).keeping("the VM as it was"));
    if (described.disks.empty())
        return fail(Error(ErrorKind::unsupported, "the VM has no disks to snapshot"));
    return {};
}

enum class Must { own, only_know };

Result<Subject> subject_of(Work& work, Must must = Must::own) {
    auto& site = work.site();
    const auto id = arguments_of(work).vm;
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(id));
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    Subject subject{std::move(described), {}, !known.has_value()};
    if (known) {
        subject.vm = std::move(*known);
        const auto& ownership = subject.vm.ownership;
        if (arguments_of(work).branch) {
            if (ownership.phase == model::Phase::owned)
                return fail(ErrorKind::refused, "the VM is this cluster's own again");
        } else if (must == Must::own)
            UNDERSTUDY_TRY(engine::may_start(ownership, site.cluster.id, subject.vm.name,
                                             cluster_name(site, ownership.owner)));
    } else {
        subject.vm.id = id;
        subject.vm.ownership = engine::adopted_by(site.cluster.id);
        subject.vm.autostart = subject.described.summary.autostart;
    }
    subject.vm.name = subject.described.summary.name;
    return subject;
}

// Takes overlays away that the VM was not switched to, and volumes that only this task made.
Result<> undo(Work& work) {
    auto& site = work.site();
    const auto vm = arguments_of(work).vm;
    auto described = site.hypervisor.describe(vm);
    if (!described && described.error().kind() != ErrorKind::not_found) return error_of(described);
    if (described && is_switched(work, *described))
        return fail(Error(ErrorKind::conflict, "the VM already uses the new overlays")
                        .advising(fmt::format("`understudy task retry {}` completes it.",
                                              work.task().id.text())));
    UNDERSTUDY_TRY(forget_heads(work));
    UNDERSTUDY_TRY(forget_unused(site, vm, planned_disks(work)));
    memo_of(work).disks.reset();
    return work.save_memo();
}

// The volume of this disk, or nothing when it is new here. A live merge that was cut off, and that
// nobody finished, is settled by the layer that the VM uses now.
Result<std::optional<VmDisk>> reconcile_volume(Site& site, const std::vector<VmDisk>& known,
                                               const ports::DiskDescription& disk,
                                               const std::string& vm_name) {
    auto at_head = volume_at(site, known, disk.source);
    if (!at_head) return at_head;
    for (const auto& candidate : known) {
        if (*at_head ? candidate != **at_head : candidate.target != disk.target) continue;
        auto pool = UNDERSTUDY_VALUE(site.pool(candidate.pool));
        auto there = UNDERSTUDY_VALUE(pool->knows(candidate.volume));
        if (!there) continue;
        auto adopted = pool->adopt(candidate.volume, {vm_name, disk.target}, disk.source);
        if (adopted) return candidate;
        if (adopted.error().kind() != ErrorKind::conflict) return error_of(adopted);
    }
    return std::nullopt;
}

Result<> check_name(Site& site, const VmId& vm, const std::string& name) {
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    for (const auto& other : snapshots)
        if (other.name == name)
            return fail(
                Error(ErrorKind::invalid, fmt::format("there is a snapshot '{}' already", name))
                    .advising("Choose another name."));
    return {};
}

// Where a disk that is new here is adopted.
Result<std::string> pool_taking(Site& site, const ports::DiskDescription& disk) {
    const auto& standard = site.settings.default_pool;
    const auto first = site.pools.find(standard);
    if (first != site.pools.end() && first->second->takes(disk.source)) return standard;
    for (const auto& [name, pool] : site.pools)
        if (pool->takes(disk.source)) return name;
    return fail(
        Error(ErrorKind::unsupported, fmt::format("{}: no pool of this cluster can hold {}",
                                                  disk.target, disk.source.location))
            .keeping("the VM as it was")
            .advising(disk.source.type == "network"
                          ? "Name its Ceph pool in understudyd.toml: `[pools.NAME]` with `driver "
                            "= \"rbd\"`."
                          : "Name a pool for files in understudyd.toml: `[pools.NAME]` with "
                            "`driver = \"qcow2\"`."));
}

Result<> plan(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(check_turn(site, arguments_of(work).vm, Asker::snapshot, work.task().id));
    UNDERSTUDY_TRY(undo(work));  // an earlier plan that no longer fits
    auto subject = UNDERSTUDY_VALUE(subject_of(work));
    UNDERSTUDY_TRY(check_disks(subject.described));
    UNDERSTUDY_TRY(check_name(site, subject.vm.id, arguments_of(work).name));
    auto known = UNDERSTUDY_VALUE(known_disks(site, subject.vm.id));
    std::vector<VmDisk> disks;
    for (const auto& disk : subject.described.disks) {
        auto volume = reconcile_volume(site, known, disk, subject.vm.name);
        if (!volume) return fail(std::move(volume.error()).during(disk.target));
        if (!*volume) {
            auto pool = UNDERSTUDY_VALUE(pool_taking(site, disk));
            *volume = VmDisk{disk.target, site.random.id<VolumeId>(), std::move(pool)};
        }
        (*volume)->target = disk.target;
        UNDERSTUDY_TRY(site.pool((*volume)->pool));
        disks.push_back(std::move(**volume));
    }
    memo_of(work).disks = disks;
    memo_of(work).former = subject.vm.disks;
    // A branch was written before its owner's epoch began.
    const auto epoch = subject.vm.ownership.epoch;
    memo_of(work).epoch = arguments_of(work).branch && epoch > 1 ? epoch - 1 : epoch;
    return {};
}

Result<> adopt(Work& work) {
    auto& site = work.site();
    auto subject = UNDERSTUDY_VALUE(subject_of(work));
    for (const auto& disk : planned_disks(work)) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto known = UNDERSTUDY_VALUE(pool->knows(disk.volume));
        if (known) continue;
        auto now = UNDERSTUDY_VALUE(disk_now(subject.described, disk.target));
        auto adopted = pool->adopt(disk.volume, {subject.vm.name, disk.target}, now->source);
        if (!adopted)
            return fail(
                std::move(adopted.error())
                    .during(fmt::format("adopt {} into pool '{}'", disk.target, disk.pool)));
        work.log(fmt::format("{}: adopted {} without a change", disk.target, now->source.location));
    }
    return {};
}

Result<> prepare(Work& work) {
    auto subject = UNDERSTUDY_VALUE(subject_of(work));
    return prepare_heads(work, subject.described);
}

Result<> commit(Work& work) {
    const auto snapshot = arguments_of(work).snapshot;
    for (const auto& disk : planned_disks(work)) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        auto done = pool->commit_snapshot(disk.volume, snapshot);
        if (!done) return fail(std::move(done.error()).during("freeze " + disk.target));
    }
    return {};
}

Result<model::Snapshot> snapshot_to_publish(Work& work, const Subject& subject) {
    model::Snapshot made;
    made.id = arguments_of(work).snapshot;
    made.vm = subject.vm.id;
    made.name = arguments_of(work).name;
    made.parent = subject.vm.head_parent;
    made.epoch = memo_of(work).epoch.value_or(subject.vm.ownership.epoch);
    made.origin = work.site().cluster.id;
    const auto& memo = memo_of(work);
    if (!memo.taken || !memo.consistency)
        return fail(ErrorKind::corrupt, "the memo does not say when the moment was");
    made.taken = *memo.taken;
    made.consistency = *memo.consistency;
    for (const auto& disk : planned_disks(work)) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        auto stat = pool->stat(disk.volume, made.id);
        if (!stat) return fail(std::move(stat.error()).during(disk.target));
        made.disks.push_back({disk.target, disk.volume, disk.pool, stat->size});
    }
    return made;
}

Result<> publish(Work& work) {
    auto& site = work.site();
    const auto id = arguments_of(work).snapshot;
    auto done_before = UNDERSTUDY_VALUE(site.catalog.find_snapshot(id));
    if (!done_before) {
        // The VM may be superseded since the moment: writes before it are kept all the same.
        auto subject = UNDERSTUDY_VALUE(subject_of(work, Must::only_know));
        auto nvram = site.hypervisor.read_nvram(subject.vm.id);
        if (!nvram) return fail(std::move(nvram.error()).during("read the UEFI variables"));
        auto made = UNDERSTUDY_VALUE(snapshot_to_publish(work, subject));
        auto vm = subject.vm;
        vm.disks = planned_disks(work);
        vm.head_parent = id;
        const model::Definition definition{memo_of(work).domain_xml.value_or(""),
                                           std::move(*nvram)};
        std::vector<model::Hold> holds;
        if (arguments_of(work).branch)
            holds.push_back({id, model::HoldKind::branch, std::to_string(vm.ownership.epoch)});
        UNDERSTUDY_TRY(site.catalog.publish_snapshot(vm, made, definition, holds, std::nullopt));
    }
    result_of(work).snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(id));
    return {};
}

// The volumes of disks that were unplugged since the last snapshot may have no snapshot left.
Result<> forget_unplugged_volumes(Work& work) {
    return forget_unused(work.site(), arguments_of(work).vm, memo_of(work).former);
}

// Before the moment everything is undone. After it the overlays hold the guest's newest writes, so
// the snapshot is completed instead, even if the task is then shown as failed or cancelled.
Result<> undo_or_complete(Work& work) {
    if (!memo_of(work).moment_has_passed()) {
        auto passed = complete_or_give_up_switch(work);
        if (!passed && passed.error().kind() != ErrorKind::not_found) return error_of(passed);
        if (!passed || !*passed) {
            UNDERSTUDY_TRY(undo(work));
            work.begin_again();
            return {};
        }
        memo_of(work).consistency = model::Consistency::crash;
    }
    UNDERSTUDY_TRY(commit(work));
    UNDERSTUDY_TRY(publish(work));
    UNDERSTUDY_TRY(forget_unplugged_volumes(work));
    work.log("the disks were switched already: the snapshot is complete");
    return {};
}

}  // namespace

Kind snapshot_create() {
    return {
        .name = kSnapshotCreate,
        .records = records_of<SnapshotCreateArguments, SnapshotCreateMemo, SnapshotCreateResult>(),
        .steps = {{.name = "plan", .run = plan},
                  {.name = "adopt", .run = adopt},
                  {.name = "prepare", .run = prepare},
                  {.name = "moment", .run = moment},
                  {.name = "commit", .run = commit, .must_go_on = true},
                  {.name = "publish", .run = publish, .must_go_on = true},
                  {.name = "let_go", .run = forget_unplugged_volumes, .must_go_on = true}},
        .on_failure = undo_or_complete};
}

}  // namespace understudy::tasks
