#include "tasks/volumes.hpp"

#include "engine/lineage.hpp"
#include "engine/send_plan.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace understudy::tasks {
namespace {

constexpr const char* kFollow = "follow";  // in the memo: disks that may soon be on other files

// Nothing: libvirt does not have the VM here.
Result<std::optional<ports::VmDescription>> described_vm(Site& site, const VmId& vm) {
    auto described = site.hypervisor.describe(vm);
    if (described) return std::move(*described);
    if (described.error().kind() == ErrorKind::not_found) return std::nullopt;
    return std::unexpected(std::move(described.error()));
}

// Whether a snapshot that was cut off half-way has made this layer, on which the VM may be already.
Result<bool> is_being_snapshotted(Site& site, const VmId& vm, const ports::DiskSource& source) {
    auto tasks = site.catalog.tasks({vm});
    if (!tasks) return std::unexpected(std::move(tasks.error()));
    for (const auto& task : *tasks) {
        if (task.state == model::TaskState::succeeded) continue;
        for (const auto& part : parts_of(task)) {
            if (part.kind != kSnapshotCreate) continue;
            for (const auto& entry : part.memo.value("switches", nlohmann::json::array()))
                if (flag_in(entry, "overlay", true) &&
                    text_in(entry, "location") == source.location)
                    return true;
        }
    }
    return false;
}

}  // namespace

Result<std::vector<model::VmDisk>> known_disks(Site& site, const VmId& id) {
    std::vector<model::VmDisk> known;
    auto vm = site.catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (*vm) known = (*vm)->disks;
    auto snapshots = site.catalog.snapshots(id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    std::set<VolumeId> seen;
    for (const auto& disk : known) seen.insert(disk.volume);
    for (const auto& snapshot : *snapshots)
        for (const auto& disk : snapshot.disks)
            if (seen.insert(disk.volume).second)
                known.push_back({disk.target, disk.volume, disk.pool});
    return known;
}

Result<std::optional<model::VmDisk>> volume_at(Site& site, const std::vector<model::VmDisk>& disks,
                                               const ports::DiskSource& source) {
    for (const auto& disk : disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->head(disk.volume);
        if (!head && head.error().kind() == ErrorKind::not_found) continue;
        if (!head) return std::unexpected(std::move(head.error()));
        if (*head && (*head)->location == source.location) return disk;
    }
    return std::nullopt;
}

Result<std::optional<ports::DiskDescription>> attached_disk(Site& site,
                                                            const ports::VmDescription& described,
                                                            const model::VmDisk& disk) {
    auto pool = site.pool(disk.pool);
    if (!pool) return std::unexpected(std::move(pool.error()));
    auto head = (*pool)->head(disk.volume);
    if (!head) return std::unexpected(std::move(head.error()));
    if (!*head) return std::nullopt;
    const bool runs = described.summary.state != ports::VmState::stopped;
    for (const auto& defined : described.disks) {
        const bool on_head = defined.source.location == (*head)->location;
        if (on_head && runs) return defined;  // a merge that is planned can go on
        if (!on_head && defined.target != disk.target) continue;
        auto settled =
            (*pool)->adopt(disk.volume, {described.summary.name, disk.target}, defined.source);
        if (settled) return defined;
        if (settled.error().kind() != ErrorKind::conflict)
            return std::unexpected(std::move(settled.error()));
        auto moving = is_being_snapshotted(site, described.summary.id, defined.source);
        if (!moving) return std::unexpected(std::move(moving.error()));
        if (*moving)
            return fail(Error(ErrorKind::conflict,
                              fmt::format("a snapshot of {} is not finished", defined.target))
                            .advising("Its task goes on by itself; `understudy task list`."));
    }
    return std::nullopt;
}

namespace {

Result<> remove_live(Work& work, const VmId& vm, const std::string& target, const VolumeId& volume,
                     ports::StoragePool& pool, const SnapshotId& id) {
    // One merge at a time, until none is left: earlier removals may have had to wait.
    while (true) {
        auto merge = pool.plan_removal(volume, id);
        if (!merge) return std::unexpected(std::move(merge.error()));
        if (!*merge) break;
        work.log(fmt::format("{}: merging a layer while the VM runs", target));
        UNDERSTUDY_TRY(work.site().hypervisor.merge(vm, target, **merge,
                                                    [&work] { return work.interrupted(); }));
        UNDERSTUDY_TRY(pool.finish_removal(volume, id));
    }
    return pool.finish_removal(volume, id);
}

// A stopped VM's disk that may soon be on another file is remembered as it is now, because only
// then its definition may be changed to follow.
Result<> remember_disk(Work& work, const VolumeId& volume, const ports::DiskDescription& defined) {
    work.memo()[kFollow][volume.text()] = {{"target", defined.target},
                                           {"from", defined.source.location}};
    return work.save_memo();
}

Result<> follow_heads(Work& work, const VmId& vm, const std::vector<model::SnapshotDisk>& disks) {
    const auto remembered = work.memo().value(kFollow, nlohmann::json::object());
    auto described = described_vm(work.site(), vm);
    if (!described) return std::unexpected(std::move(described.error()));
    std::vector<ports::DiskSwitch> switches;
    for (const auto& disk : disks) {
        const auto known = remembered.find(disk.volume.text());
        if (known == remembered.end() || !*described) continue;
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->head(disk.volume);
        if (!head && head.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(head.error()));
        if (!head || !*head) continue;
        for (const auto& defined : (*described)->disks)
            if (defined.target == text_in(*known, "target") &&
                defined.source.location == text_in(*known, "from") &&
                defined.source.location != (*head)->location)
                switches.push_back({defined.target, **head});
    }
    if (!switches.empty()) UNDERSTUDY_TRY(work.site().hypervisor.set_disks(vm, switches));
    work.memo().erase(kFollow);
    return work.save_memo();
}

Result<> remove_from_volume(Work& work, const VmId& vm,
                            const std::optional<ports::VmDescription>& described,
                            const model::SnapshotDisk& disk, const SnapshotId& id) {
    auto pool = work.site().pool(disk.pool);
    if (!pool) return std::unexpected(std::move(pool.error()));
    auto known = (*pool)->knows(disk.volume);
    if (!known) return std::unexpected(std::move(known.error()));
    if (!*known) return {};
    std::optional<ports::DiskDescription> attached;
    if (described) {
        auto found = attached_disk(work.site(), *described, {disk.target, disk.volume, disk.pool});
        if (!found) return std::unexpected(std::move(found.error()));
        attached = std::move(*found);
    }
    if (!attached) return (*pool)->remove_snapshot(disk.volume, id);
    if (described->summary.state != ports::VmState::stopped)
        return remove_live(work, vm, attached->target, disk.volume, **pool, id);
    UNDERSTUDY_TRY(remember_disk(work, disk.volume, *attached));
    // The definition may name the layer that goes. First the name, then the file: a crash in
    // between leaves a VM that starts.
    UNDERSTUDY_TRY(work.site().hypervisor.set_disks(vm, {{attached->target, attached->source}}));
    return (*pool)->remove_snapshot(disk.volume, id);
}

}  // namespace

Result<Presence> presence_of(Site& site, const VmId& vm) {
    auto described = described_vm(site, vm);
    if (!described) return std::unexpected(std::move(described.error()));
    if (!*described) return Presence::undefined;
    return (*described)->summary.state == ports::VmState::stopped ? Presence::stopped
                                                                  : Presence::running;
}

Result<> remove_from_volumes(Work& work, const VmId& vm,
                             const std::vector<model::SnapshotDisk>& disks, const SnapshotId& id) {
    auto described = described_vm(work.site(), vm);
    if (!described) return std::unexpected(std::move(described.error()));
    // First what an earlier attempt had moved.
    if (*described && (*described)->summary.state == ports::VmState::stopped) {
        UNDERSTUDY_TRY(follow_heads(work, vm, disks));
        described = described_vm(work.site(), vm);
        if (!described) return std::unexpected(std::move(described.error()));
    }
    for (const auto& disk : disks) {
        auto removed = remove_from_volume(work, vm, *described, disk, id);
        if (!removed && removed.error().kind() != ErrorKind::not_found)
            return fail(std::move(removed.error())
                            .during("merge " + disk.target)
                            .keeping("all data; the snapshot is unlisted, its layer is not merged")
                            .advising(fmt::format("`understudy task retry {}` goes on.",
                                                  work.task().id.text())));
    }
    if (work.memo().contains(kFollow)) UNDERSTUDY_TRY(follow_heads(work, vm, disks));
    return forget_unused(work.site(), vm, vm_disks(disks));
}

Result<std::set<VolumeId>> volumes_in_use(Site& site, const VmId& id,
                                          std::optional<TransferId> ending) {
    std::set<VolumeId> used;
    auto known = known_disks(site, id);
    if (!known) return std::unexpected(std::move(known.error()));
    for (const auto& disk : *known) used.insert(disk.volume);
    auto transfers = site.catalog.transfers();
    if (!transfers) return std::unexpected(std::move(transfers.error()));
    for (const auto& transfer : *transfers)
        if (transfer.id != ending)
            for (const auto& disk : transfer.request.snapshot.disks) used.insert(disk.volume);
    return used;
}

Result<> forget_unused(Site& site, const VmId& id, const std::vector<model::VmDisk>& disks,
                       std::optional<TransferId> ending) {
    auto used = volumes_in_use(site, id, ending);
    if (!used) return std::unexpected(std::move(used.error()));
    for (const auto& disk : disks) {
        if (used->contains(disk.volume)) continue;
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->head(disk.volume);
        if (!head && head.error().kind() == ErrorKind::not_found) continue;
        if (!head) return std::unexpected(std::move(head.error()));
        UNDERSTUDY_TRY((*pool)->forget(disk.volume, !head->has_value()));
    }
    return {};
}

Result<std::vector<ports::DiskSwitch>> activate_disks(Site& site,
                                                      const std::vector<model::SnapshotDisk>& disks,
                                                      const SnapshotId& id,
                                                      ports::ActivationKind kind) {
    std::vector<ports::DiskSwitch> switches;
    for (const auto& disk : disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->activate(disk.volume, id, kind);
        if (!head)
            return std::unexpected(std::move(head.error()).during("activate " + disk.target));
        switches.push_back({disk.target, std::move(*head)});
    }
    return switches;
}

Result<std::map<std::string, std::string>> networks_from(Site& site, const ClusterId& owner) {
    auto peer = site.catalog.peer(owner);
    if (peer) return std::move(peer->networks);
    if (peer.error().kind() == ErrorKind::not_found) return std::map<std::string, std::string>{};
    return std::unexpected(std::move(peer.error()));
}

Result<std::vector<ports::DiskSwitch>> outlined_disks(
    Site& site, const std::vector<model::SnapshotDisk>& disks) {
    std::vector<ports::DiskSwitch> outlined;
    for (const auto& disk : disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        outlined.push_back({disk.target, (*pool)->outline(disk.volume)});
    }
    return outlined;
}

Result<ports::Adapted> rehearse(Site& site, const ClusterId& owner, const std::string& domain_xml,
                                const std::vector<model::SnapshotDisk>& disks) {
    auto networks = networks_from(site, owner);
    if (!networks) return std::unexpected(std::move(networks.error()));
    ports::AdaptRequest request;
    request.domain_xml = domain_xml;
    request.networks = std::move(*networks);
    auto outlined = outlined_disks(site, disks);
    if (!outlined) return std::unexpected(std::move(outlined.error()));
    request.disks = std::move(*outlined);
    return site.hypervisor.adapt(request);
}

namespace {

Result<ports::Adapted> adapt_snapshot(Site& site, const model::Snapshot& snapshot,
                                      const ClusterId& owner, const std::string& domain_xml,
                                      const std::vector<ports::DiskSwitch>& disks) {
    auto networks = networks_from(site, owner);
    if (!networks) return std::unexpected(std::move(networks.error()));
    ports::AdaptRequest request;
    request.domain_xml = domain_xml;
    request.disks = disks;
    request.networks = std::move(*networks);
    request.from_here = snapshot.origin == site.cluster.id;
    auto described = described_vm(site, snapshot.vm);
    if (!described) return std::unexpected(std::move(described.error()));
    if (*described) request.new_name = (*described)->summary.name;  // of a VM that was renamed
    return site.hypervisor.adapt(request);
}

}  // namespace

Result<ports::Adapted> rehearse_here(Site& site, const model::Snapshot& snapshot,
                                     const ClusterId& owner) {
    auto definition = site.catalog.definition(snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    auto disks = outlined_disks(site, snapshot.disks);
    if (!disks) return std::unexpected(std::move(disks.error()));
    return adapt_snapshot(site, snapshot, owner, definition->domain_xml, *disks);
}

Result<std::vector<std::string>> define_from_snapshot(Work& work, const model::Snapshot& snapshot,
                                                      const std::vector<ports::DiskSwitch>& disks,
                                                      const ClusterId& owner,
                                                      const std::vector<std::string>& accepted) {
    auto& site = work.site();
    auto definition = site.catalog.definition(snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    auto adapted = adapt_snapshot(site, snapshot, owner, definition->domain_xml, disks);
    if (!adapted) return std::unexpected(std::move(adapted.error()).during("adapt the definition"));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted->issues, accepted));
    for (const auto& change : adapted->changes) work.log(change);
    if (!adapted->nvram_path.empty() && !definition->nvram.empty())
        UNDERSTUDY_TRY(site.hypervisor.write_nvram(adapted->nvram_path, definition->nvram));
    auto defined = site.hypervisor.define(adapted->domain_xml);
    if (!defined) return std::unexpected(std::move(defined.error()).during("define the VM"));
    return std::move(adapted->changes);
}

Result<> check_no_snapshot_is_half_done(Site& site, const VmId& vm,
                                        const std::optional<TaskId>& asking) {
    auto active = site.catalog.tasks({vm, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active) {
        if (task.id == asking) continue;
        for (const auto& part : parts_of(task))
            // Who names itself is none that a snapshot waits for: also one that has to plan anew
            // counts, because what it has made is there until it does.
            if ((part.kind == kSnapshotCreate &&
                 (!part.step.empty() || (asking && part.memo.contains("disks")))) ||
                // A definition that has still to follow a merge.
                (part.kind == "snapshot_remove" && part.memo.contains(kFollow)))
                return fail(ErrorKind::conflict, fmt::format("'{}' is not finished", task.title));
    }
    return {};
}

Result<> check_nothing_is_half_done(Work& work) {
    auto active = work.site().catalog.tasks({id_in<VmId>(work.arguments(), "vm"), true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active) {
        if (task.id == work.task().id) continue;
        for (const auto& part : parts_of(task)) {
            const bool taken = part.kind == kSnapshotCreate && part.memo.contains("consistency");
            const bool departs = (part.kind == kMove && part.memo.contains("next") &&
                                  !part.memo.contains("departed")) ||
                                 (part.kind == kResolve && part.memo.contains("next"));
            const bool arrives = part.kind == kPromote && part.memo.contains("next");
            if (taken || departs || arrives ||
                (part.kind == "snapshot_rollback" && part.step == "settle"))
                return fail(ErrorKind::conflict, fmt::format("'{}' is not finished", task.title));
        }
    }
    return {};
}

Result<std::optional<model::Snapshot>> newest_point(Site& site, const model::Vm& replica) {
    auto snapshots = site.catalog.snapshots(replica.id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    auto holds = site.catalog.holds(replica.id);
    if (!holds) return std::unexpected(std::move(holds.error()));
    return engine::newest_point(*snapshots, replica.ownership.owner, *holds);
}

Result<> hold_for_task(Work& work, const SnapshotId& id) {
    return work.site().catalog.add_hold({id, model::HoldKind::transfer, work.task().id.text()});
}

Result<> let_go_for_task(Work& work, const SnapshotId& id) {
    return work.site().catalog.remove_hold({id, model::HoldKind::transfer, work.task().id.text()});
}

std::vector<model::VmDisk> vm_disks(const std::vector<model::SnapshotDisk>& disks) {
    std::vector<model::VmDisk> made;
    for (const auto& disk : disks) made.push_back({disk.target, disk.volume, disk.pool});
    return made;
}

}  // namespace understudy::tasks
