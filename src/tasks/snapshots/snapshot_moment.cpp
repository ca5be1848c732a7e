#include "tasks/snapshots/snapshot_moment.hpp"

#include "engine/ownership.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/queue/events.hpp"
#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/snapshot_records.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

// The one moment of a snapshot. `moment` checks that the plan still fits and saves in the memo that
// an attempt begins (`taken`). Then disks without overlays are snapshotted while the VM stands
// still, and all others are switched in one call. A crash after `taken` may leave the guest paused
// or frozen, or on overlays that libvirt does not know of. reconcile_interrupted_switch finds out
// which disks the VM is on, and let_guest_go_on lets it run. Both are called from `moment` at the
// next attempt, and from complete_or_give_up_switch when the task ends after a failure or a cancel.

namespace understudy::tasks {
namespace {

const SnapshotCreateArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotCreateArguments>();
}

SnapshotCreateMemo& memo_of(Work& work) {
    return work.memo<SnapshotCreateMemo>();
}

constexpr std::size_t kMaxAtOnce = 16;  // snapshots that one moment waits for

VmId vm_id(Work& work) {
    return arguments_of(work).vm;
}

SnapshotId snapshot_id(Work& work) {
    return arguments_of(work).snapshot;
}

std::vector<PreparedHead> planned_heads(Work& work) {
    return memo_of(work).heads.value_or(std::vector<PreparedHead>{});
}

std::vector<ports::DiskSwitch> planned_switches(Work& work) {
    std::vector<ports::DiskSwitch> switches;
    for (const auto& head : planned_heads(work))
        if (head.overlay) switches.push_back({head.target, head.source.source()});
    return switches;
}

// The disks that stay on their heads.
Result<std::vector<model::VmDisk>> disks_in_place(Work& work) {
    std::vector<model::VmDisk> in_place;
    for (const auto& disk : planned_disks(work)) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        if (!pool->features().live_overlay) in_place.push_back(disk);
    }
    return in_place;
}

Result<PreparedHead> prepare_head(Work& work, const model::VmDisk& disk, ByteSize size) {
    auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
    // A snapshot of an earlier attempt may be of another size, or of another moment.
    UNDERSTUDY_TRY(pool->cancel_snapshot(disk.volume, snapshot_id(work)));
    auto head = pool->prepare_snapshot(disk.volume, snapshot_id(work), size);
    if (!head) return fail(std::move(head.error()).during("prepare " + disk.target));
    return PreparedHead{disk.target, KeptSource::of(*head), pool->features().live_overlay,
                        size.count()};
}

// The world may have changed since the heads were made: disks come and go, and grow (the VM would
// find them shrunk). conflict: plan again; no overlay is in use yet.
Result<> check_plan(Work& work, const ports::VmDescription& described) {
    const auto changed = [](const std::string& what) {
        return fail(ErrorKind::conflict, what + " since the snapshot was planned");
    };
    const auto disks = planned_disks(work);
    if (disks.size() != described.disks.size()) return changed("the VM's disks have changed");
    for (const auto& head : planned_heads(work)) {
        const auto& target = head.target;
        auto now = UNDERSTUDY_VALUE(disk_now(described, target));
        if (now->size.count() != head.size) return changed(target + " has another size");
        auto volume = UNDERSTUDY_VALUE(volume_at(work.site(), disks, now->source));
        if (!volume || volume->target != target) return changed(target + " is on another layer");
    }
    return {};
}

// Snapshots these disks at the same time, where threads are allowed: Ceph answers each with its
// monitors' next commit, and the VM stands still until the last of them.
Result<> snapshot_in_place(Work& work, const std::vector<model::VmDisk>& disks) {
    auto& site = work.site();
    const auto id = snapshot_id(work);
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::optional<Error> failure;  // the first one, under the mutex
    const auto take = [&] {
        for (auto i = next++; i < disks.size(); i = next++) {
            auto pool = site.pool(disks[i].pool);
            auto taken = pool ? (*pool)->take_snapshot(disks[i].volume, id)
                              : std::unexpected(std::move(pool.error()));
            if (taken) continue;
            next = disks.size();  // the moment has failed: the VM is not kept waiting for more
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::move(taken.error()).during(disks[i].target);
        }
    };
    std::vector<std::jthread> others;
    const auto wanted = site.settings.threads ? std::min(disks.size(), kMaxAtOnce) : 1;
    try {
        while (others.size() + 1 < wanted) others.emplace_back(take);
    } catch (const std::system_error&) {
        // Fewer at once, then.
    }
    take();
    others.clear();  // waits for them
    if (failure) return fail(std::move(*failure));
    return {};
}

// Snapshots all disks at one moment. The disks that stay on their heads come first, while the VM
// stands still. Then the others are switched: that switch tells later that the moment has passed.
Result<model::Consistency> snapshot_all_disks(Work& work, const ports::VmDescription& described) {
    auto& site = work.site();
    auto in_place = UNDERSTUDY_VALUE(disks_in_place(work));
    // A snapshot from an interrupted attempt is too old, so it is taken again.
    for (const auto& disk : in_place) {
        auto now = UNDERSTUDY_VALUE(disk_now(described, disk.target));
        auto again = UNDERSTUDY_VALUE(prepare_head(work, disk, now->size));
    }
    const auto switches = planned_switches(work);
    if (described.summary.state == ports::VmState::stopped) {
        UNDERSTUDY_TRY(snapshot_in_place(work, in_place));
        if (!switches.empty()) UNDERSTUDY_TRY(site.hypervisor.set_disks(vm_id(work), switches));
        return model::Consistency::crash;
    }
    std::function<Result<>()> still;
    if (!in_place.empty()) {
        still = [&] { return snapshot_in_place(work, in_place); };
        memo_of(work).stands_still = described.summary.state == ports::VmState::running;
        UNDERSTUDY_TRY(work.save_memo());
    }
    const auto limit = arguments_of(work).freeze ? site.settings.freeze_limit : Duration(0);
    auto taken = site.hypervisor.snapshot(vm_id(work), switches, limit, still);
    if (!taken) return fail(std::move(taken.error()).during("snapshot"));
    memo_of(work).stands_still = false;
    return taken;
}

// After an interrupted attempt the overlay may hold writes that no disk has: the VM had been
// switched to the overlay and then stopped, and cannot be put on it any more. Such an overlay is
// kept under another name. Returns true if an overlay was kept.
Result<bool> set_aside_if_written(Work& work, ports::StoragePool& pool, const model::VmDisk& disk) {
    if (!memo_of(work).taken || memo_of(work).overlays_stale) return false;
    auto written = pool.overlay_written(disk.volume, snapshot_id(work));
    if (!written || !*written) return written;
    auto kept = UNDERSTUDY_VALUE(pool.set_aside(disk.volume, snapshot_id(work)));
    const auto said = fmt::format(
        "an attempt at '{}' was cut off. What the VM wrote to {} between that time and its stop is "
        "not on its disks; it is kept as {}",
        work.task().title, disk.target, kept);
    work.log(said);
    record_event(work.site(), {}, "kept", vm_id(work), said);
    return true;
}

// Another cluster may have taken the VM over since: then it stands still for good.
bool may_run(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.find_vm(vm_id(work));
    if (!vm) return false;
    return !*vm || engine::may_start((*vm)->ownership, site.cluster.id, (*vm)->name, {});
}

}  // namespace

std::vector<model::VmDisk> planned_disks(Work& work) {
    return memo_of(work).disks.value_or(std::vector<model::VmDisk>{});
}

Result<const ports::DiskDescription*> disk_now(const ports::VmDescription& described,
                                               const std::string& target) {
    for (const auto& disk : described.disks)
        if (disk.target == target) return &disk;
    return fail(ErrorKind::conflict, fmt::format("disk {} is no longer there", target));
}

bool is_switched(Work& work, const ports::VmDescription& described) {
    for (const auto& disk : described.disks)
        for (const auto& planned : planned_switches(work))
            if (disk.source.location == planned.source.location) return true;
    return false;
}

Result<> prepare_heads(Work& work, const ports::VmDescription& described) {
    std::vector<PreparedHead> heads;
    for (const auto& disk : planned_disks(work)) {
        auto now = UNDERSTUDY_VALUE(disk_now(described, disk.target));
        auto head = UNDERSTUDY_VALUE(prepare_head(work, disk, now->size));
        heads.push_back(std::move(head));
    }
    memo_of(work).heads = std::move(heads);
    return {};
}

Result<> forget_heads(Work& work) {
    for (const auto& disk : planned_disks(work)) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) continue;
        auto kept = set_aside_if_written(work, **pool, disk);
        auto gone = kept ? (*pool)->cancel_snapshot(disk.volume, snapshot_id(work))
                         : std::unexpected(std::move(kept.error()));
        if (!gone && gone.error().kind() != ErrorKind::not_found)
            return fail(std::move(gone.error()).during(disk.target));
    }
    auto& memo = memo_of(work);
    memo.heads.reset();
    memo.taken.reset();
    memo.overlays_stale = false;
    return work.save_memo();
}

namespace {

Result<> check_moment_is_closed(Site& site, const model::Task& task, const TaskPart& part) {
    const auto arguments = UNDERSTUDY_VALUE(read_record<SnapshotCreateArguments>(part.arguments));
    const auto memo = UNDERSTUDY_VALUE(read_record<SnapshotCreateMemo>(part.memo));
    if (!memo.moment_is_open() || !memo.disks) return {};
    for (const auto& disk : *memo.disks) {
        auto pool = site.pool(disk.pool);
        auto written = pool ? (*pool)->overlay_written(disk.volume, arguments.snapshot) : false;
        if (!written || !*written) continue;
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}' was cut off. The newest writes of {} are "
                                                  "in an overlay that the VM does not use yet",
                                                  task.title, disk.target))
                .advising(fmt::format("The daemon repairs this without help: wait with `understudy "
                                      "task watch {}`, then start the VM.",
                                      task.id.text())));
    }
    return {};
}

}  // namespace

Result<> check_no_moment_is_open(Site& site, const VmId& vm) {
    const auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(vm));
    for (const auto& task : active) {
        if (!doings_of(task).contains(Doing::has_plan)) continue;
        const auto parts = UNDERSTUDY_VALUE(parts_of(task));
        for (const auto& part : parts)
            if (part.kind == kSnapshotCreate)
                UNDERSTUDY_TRY(check_moment_is_closed(site, task, part));
    }
    return {};
}

void let_guest_go_on(Work& work) {
    auto& hypervisor = work.site().hypervisor;
    if (memo_of(work).stands_still && may_run(work)) {
        auto resumed = hypervisor.resume(vm_id(work));
        if (!resumed && resumed.error().kind() == ErrorKind::unavailable)
            work.log("the VM may still be paused (`virsh resume` continues it): " +
                     resumed.error().text());
        else
            memo_of(work).stands_still = false;
    }
    if (!arguments_of(work).freeze) return;
    auto thawed = hypervisor.thaw(vm_id(work));
    if (!thawed && thawed.error().kind() != ErrorKind::not_found)
        work.log("the guest's file systems may still be frozen (`virsh domfsthaw` thaws them): " +
                 thawed.error().text());
}

namespace {

// An attempt that was cut off may have switched the VM without libvirt knowing it. If the VM runs
// or is paused, it is put on the disks that libvirt names, and overlays that it is not on are
// removed: they would hide what it writes there. If the VM is off, overlays that are not known to
// be stale stay, because its last writes may be in them.
Result<> reconcile_interrupted_switch(Work& work) {
    if (!memo_of(work).taken || planned_switches(work).empty()) return {};
    auto& hypervisor = work.site().hypervisor;
    auto described = UNDERSTUDY_VALUE(hypervisor.describe(vm_id(work)));
    const auto state = described.summary.state;
    const bool switched = is_switched(work, described);
    if (state == ports::VmState::stopped && (switched || !memo_of(work).overlays_stale)) return {};
    if (switched || !memo_of(work).overlays_stale) {
        if (state == ports::VmState::running && !switched) memo_of(work).stands_still = true;
        UNDERSTUDY_TRY(work.save_memo());
        auto repaired = hypervisor.repair_interrupted_snapshot(
            vm_id(work), planned_switches(work), [&]() -> Result<> {
                memo_of(work).overlays_stale = true;
                auto saved = work.save_memo();
                if (!saved) memo_of(work).overlays_stale = false;
                return saved;
            });
        if (!repaired && repaired.error().kind() != ErrorKind::cancelled)
            return fail(Error(ErrorKind::unavailable, repaired.error().what())  // whatever it is
                            .advising(repaired.error().advice()));
        if (!repaired || switched) return repaired;
    }
    if (!memo_of(work).overlays_stale) {  // none was in use
        described = UNDERSTUDY_VALUE(hypervisor.describe(vm_id(work)));
        if (is_switched(work, described)) return {};  // after all
    }
    UNDERSTUDY_TRY(forget_heads(work));
    work.log("an attempt to switch the disks was cut off: its overlays are made again");
    return {};
}

}  // namespace

Result<bool> complete_or_give_up_switch(Work& work) {
    UNDERSTUDY_TRY(reconcile_interrupted_switch(work));
    // The memo has the definition from the beginning of the moment on, so it tells that the moment
    // had begun.
    if (memo_of(work).domain_xml) let_guest_go_on(work);
    auto described = UNDERSTUDY_VALUE(work.site().hypervisor.describe(vm_id(work)));
    if (is_switched(work, described)) return true;
    if (described.summary.state != ports::VmState::stopped || !memo_of(work).taken ||
        planned_switches(work).empty())
        return false;
    // On overlays that do not fit any more the VM would find its disks changed.
    auto fits = check_plan(work, described);
    if (!fits && fits.error().kind() == ErrorKind::conflict) return false;
    UNDERSTUDY_TRY(std::move(fits));
    UNDERSTUDY_TRY(snapshot_all_disks(work, described));
    return true;
}

Result<> moment(Work& work) {
    // A cancelled task whose moment had passed was completed, and others may have come since: a
    // retry must not switch the VM back to layers that are frozen by now.
    if (memo_of(work).moment_has_passed()) return {};
    UNDERSTUDY_TRY(reconcile_interrupted_switch(work));
    if (memo_of(work).stands_still) let_guest_go_on(work);
    auto described = UNDERSTUDY_VALUE(work.site().hypervisor.describe(vm_id(work)));
    auto consistency = model::Consistency::crash;
    if (is_switched(work, described)) {
        work.log("the VM already uses the new overlays");
        let_guest_go_on(work);
    } else {
        if (!memo_of(work).heads) UNDERSTUDY_TRY(prepare_heads(work, described));
        UNDERSTUDY_TRY(check_plan(work, described));
        memo_of(work).domain_xml = described.domain_xml;
        // Counted from before the moment, so that a stated RPO is never better than the truth.
        memo_of(work).taken = work.site().clock.now();
        UNDERSTUDY_TRY(work.save_memo());
        auto taken = UNDERSTUDY_VALUE(snapshot_all_disks(work, described));
        consistency = taken;
    }
    memo_of(work).consistency = consistency;
    return {};
}

}  // namespace understudy::tasks
