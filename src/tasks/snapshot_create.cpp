#include "engine/ownership.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/snapshot_moment.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// The order, and what a crash leaves: `plan` records which volumes the disks are, before any is
// made; `adopt` makes them; `prepare` makes the future heads, which nothing uses yet; `moment`
// switches the VM to them in one step, and snapshots the disks in place whose pools have no
// overlays; `commit` lets the pools record what is frozen; `publish` makes the snapshot exist.
// Before `moment` everything can be undone, after it everything goes forward.

namespace understudy::tasks {
namespace {

using model::VmDisk;

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
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto described = site.hypervisor.describe(id);
    if (!described) return std::unexpected(std::move(described.error()));
    auto known = site.catalog.find_vm(id);
    if (!known) return std::unexpected(std::move(known.error()));
    Subject subject{std::move(*described), {}, !known->has_value()};
    if (*known) {
        subject.vm = std::move(**known);
        const auto& ownership = subject.vm.ownership;
        if (flag_in(work.arguments(), "branch")) {
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
    const auto vm = id_in<VmId>(work.arguments(), "vm");
    auto described = site.hypervisor.describe(vm);
    if (!described && described.error().kind() != ErrorKind::not_found)
        return std::unexpected(std::move(described.error()));
    if (described && is_switched(work, *described))
        return fail(Error(ErrorKind::conflict, "the VM runs on the new overlays already")
                        .advising(fmt::format("`understudy task retry {}` completes it.",
                                              work.task().id.text())));
    UNDERSTUDY_TRY(forget_heads(work));
    UNDERSTUDY_TRY(forget_unused(site, vm, planned_disks(work)));
    work.memo().erase("disks");
    return work.save_memo();
}

// The volume of this disk, or nothing when it is new here. A live merge that was cut off, and that
// nobody finished, is settled by where the VM is now.
Result<std::optional<VmDisk>> settled_volume(Site& site, const std::vector<VmDisk>& known,
                                             const ports::DiskDescription& disk,
                                             const std::string& vm_name) {
    auto at_head = volume_at(site, known, disk.source);
    if (!at_head) return at_head;
    for (const auto& candidate : known) {
        if (*at_head ? candidate != **at_head : candidate.target != disk.target) continue;
        auto pool = site.pool(candidate.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto there = (*pool)->knows(candidate.volume);
        if (!there) return std::unexpected(std::move(there.error()));
        if (!*there) continue;
        auto settled = (*pool)->adopt(candidate.volume, {vm_name, disk.target}, disk.source);
        if (settled) return candidate;
        if (settled.error().kind() != ErrorKind::conflict)
            return std::unexpected(std::move(settled.error()));
    }
    return std::nullopt;
}

Result<> check_name(Site& site, const VmId& vm, const std::string& name) {
    auto snapshots = site.catalog.snapshots(vm);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    for (const auto& other : *snapshots)
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
        Error(ErrorKind::unsupported, fmt::format("{}: no pool of this cluster takes {}",
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
    UNDERSTUDY_TRY(check_nothing_is_half_done(work));
    UNDERSTUDY_TRY(undo(work));  // of an earlier plan that the world has changed under
    auto subject = subject_of(work);
    if (!subject) return std::unexpected(std::move(subject.error()));
    UNDERSTUDY_TRY(check_disks(subject->described));
    UNDERSTUDY_TRY(check_name(site, subject->vm.id, text_in(work.arguments(), "name")));
    auto known = known_disks(site, subject->vm.id);
    if (!known) return std::unexpected(std::move(known.error()));
    std::vector<VmDisk> disks;
    for (const auto& disk : subject->described.disks) {
        auto volume = settled_volume(site, *known, disk, subject->vm.name);
        if (!volume) return std::unexpected(std::move(volume.error()).during(disk.target));
        if (!*volume) {
            auto pool = pool_taking(site, disk);
            if (!pool) return std::unexpected(std::move(pool.error()));
            *volume = VmDisk{disk.target, site.random.id<VolumeId>(), std::move(*pool)};
        }
        (*volume)->target = disk.target;
        UNDERSTUDY_TRY(site.pool((*volume)->pool));
        disks.push_back(std::move(**volume));
    }
    work.memo()["disks"] = disks;
    work.memo()["former"] = subject->vm.disks;
    // A branch was written before its owner's epoch began.
    const auto epoch = subject->vm.ownership.epoch;
    work.memo()["epoch"] = flag_in(work.arguments(), "branch") && epoch > 1 ? epoch - 1 : epoch;
    return {};
}

Result<> adopt(Work& work) {
    auto& site = work.site();
    auto subject = subject_of(work);
    if (!subject) return std::unexpected(std::move(subject.error()));
    for (const auto& disk : planned_disks(work)) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto known = (*pool)->knows(disk.volume);
        if (!known) return std::unexpected(std::move(known.error()));
        if (*known) continue;
        auto now = disk_now(subject->described, disk.target);
        if (!now) return std::unexpected(std::move(now.error()));
        auto adopted = (*pool)->adopt(disk.volume, {subject->vm.name, disk.target}, (*now)->source);
        if (!adopted)
            return std::unexpected(
                std::move(adopted.error())
                    .during(fmt::format("adopt {} into pool '{}'", disk.target, disk.pool)));
        work.log(fmt::format("{}: adopted {} as it stands", disk.target, (*now)->source.location));
    }
    return {};
}

Result<> prepare(Work& work) {
    auto subject = subject_of(work);
    if (!subject) return std::unexpected(std::move(subject.error()));
    return prepare_heads(work, subject->described);
}

Result<> commit(Work& work) {
    const auto snapshot = id_in<SnapshotId>(work.arguments(), "snapshot");
    for (const auto& disk : planned_disks(work)) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto done = (*pool)->commit_snapshot(disk.volume, snapshot);
        if (!done) return fail(std::move(done.error()).during("freeze " + disk.target));
    }
    return {};
}

Result<model::Snapshot> snapshot_to_publish(Work& work, const Subject& subject) {
    model::Snapshot made;
    made.id = id_in<SnapshotId>(work.arguments(), "snapshot");
    made.vm = subject.vm.id;
    made.name = text_in(work.arguments(), "name");
    made.parent = subject.vm.head_parent;
    made.epoch = number_in(work.memo(), "epoch", subject.vm.ownership.epoch);
    made.origin = work.site().cluster.id;
    auto taken = base::parse_time(text_in(work.memo(), "taken"));
    if (!taken) return std::unexpected(std::move(taken.error()));
    made.taken = *taken;
    auto consistency = model::consistency_from(text_in(work.memo(), "consistency"));
    if (!consistency) return std::unexpected(std::move(consistency.error()));
    made.consistency = *consistency;
    for (const auto& disk : planned_disks(work)) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto stat = (*pool)->stat(disk.volume, made.id);
        if (!stat) return std::unexpected(std::move(stat.error()).during(disk.target));
        made.disks.push_back({disk.target, disk.volume, disk.pool, stat->size});
    }
    return made;
}

Result<> publish(Work& work) {
    auto& site = work.site();
    const auto id = id_in<SnapshotId>(work.arguments(), "snapshot");
    auto done_before = site.catalog.find_snapshot(id);
    if (!done_before) return std::unexpected(std::move(done_before.error()));
    if (!*done_before) {
        // Superseded since the moment: what was written before it is kept all the same.
        auto subject = subject_of(work, Must::only_know);
        if (!subject) return std::unexpected(std::move(subject.error()));
        auto nvram = site.hypervisor.read_nvram(subject->vm.id);
        if (!nvram) return fail(std::move(nvram.error()).during("read the UEFI variables"));
        auto made = snapshot_to_publish(work, *subject);
        if (!made) return std::unexpected(std::move(made.error()));
        auto vm = subject->vm;
        vm.disks = planned_disks(work);
        vm.head_parent = id;
        const model::Definition definition{text_in(work.memo(), "domain_xml"), std::move(*nvram)};
        std::vector<model::Hold> holds;
        if (flag_in(work.arguments(), "branch"))
            holds.push_back({id, model::HoldKind::branch, std::to_string(vm.ownership.epoch)});
        UNDERSTUDY_TRY(site.catalog.publish_snapshot(vm, *made, definition, holds, std::nullopt));
    }
    auto made = site.catalog.snapshot(id);
    if (!made) return std::unexpected(std::move(made.error()));
    work.result()["snapshot"] = *made;
    return {};
}

// The volumes of disks that were unplugged since the last snapshot may have no snapshot left.
Result<> let_go(Work& work) {
    return forget_unused(work.site(), id_in<VmId>(work.arguments(), "vm"),
                         work.memo().value("former", std::vector<VmDisk>{}));
}

// Before the moment everything is undone. After it the overlays hold the guest's newest writes, so
// that the snapshot is completed instead, whatever the task is called then.
Result<> take_back(Work& work) {
    if (!work.memo().contains("consistency")) {
        auto passed = has_passed(work);
        if (!passed && passed.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(passed.error()));
        if (!passed || !*passed) {
            UNDERSTUDY_TRY(undo(work));
            work.begin_again();
            return {};
        }
        work.memo()["consistency"] = std::string(model::to_string(model::Consistency::crash));
    }
    UNDERSTUDY_TRY(commit(work));
    UNDERSTUDY_TRY(publish(work));
    UNDERSTUDY_TRY(let_go(work));
    work.log("the moment had passed already: the snapshot is complete");
    return {};
}

}  // namespace

Kind snapshot_create() {
    return Kind{kSnapshotCreate,
                {{"plan", plan},
                 {"adopt", adopt},
                 {"prepare", prepare},
                 {"moment", moment},
                 {"commit", commit, true},
                 {"publish", publish, true},
                 {"let_go", let_go, true}},
                take_back,
                true};
}

}  // namespace understudy::tasks
