#include "tasks/volumes.hpp"

#include "engine/send_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

Result<> remove_live(Work& work, const VmId& vm, const model::SnapshotDisk& disk,
                     ports::StoragePool& pool, const SnapshotId& id) {
    // One merge at a time, until none is left: earlier removals may have had to wait.
    while (true) {
        auto merge = pool.plan_removal(disk.volume, id);
        if (!merge) return std::unexpected(std::move(merge.error()));
        if (!*merge) break;
        work.log(fmt::format("{}: merging a layer while the VM runs", disk.target));
        UNDERSTUDY_TRY(work.site().hypervisor.merge(vm, disk.target, **merge,
                                                    [&work] { return work.interrupted(); }));
        UNDERSTUDY_TRY(pool.finish_removal(disk.volume, id));
    }
    return pool.finish_removal(disk.volume, id);
}

}  // namespace

namespace {

// A merge may have moved the head to another file: a stopped VM's definition must follow it.
Result<> follow_heads(Site& site, const VmId& vm, const std::vector<model::SnapshotDisk>& disks) {
    auto described = site.hypervisor.describe(vm);
    if (!described) return std::unexpected(std::move(described.error()));
    std::vector<ports::DiskSwitch> switches;
    for (const auto& disk : disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto head = (*pool)->head(disk.volume);
        if (!head || !*head) continue;
        for (const auto& defined : described->disks)
            if (defined.target == disk.target && defined.source.location != (*head)->location)
                switches.push_back({disk.target, **head});
    }
    return switches.empty() ? Result<>{} : site.hypervisor.set_disks(vm, switches);
}

}  // namespace

Result<Presence> presence_of(Site& site, const VmId& vm) {
    auto described = site.hypervisor.describe(vm);
    if (!described) {
        if (described.error().kind() == ErrorKind::not_found) return Presence::undefined;
        return std::unexpected(std::move(described.error()));
    }
    return described->summary.state == ports::VmState::stopped ? Presence::stopped
                                                               : Presence::running;
}

Result<> remove_from_volumes(Work& work, const VmId& vm,
                             const std::vector<model::SnapshotDisk>& disks, const SnapshotId& id) {
    auto presence = presence_of(work.site(), vm);
    if (!presence) return std::unexpected(std::move(presence.error()));
    for (const auto& disk : disks) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto known = (*pool)->knows(disk.volume);
        if (!known) return std::unexpected(std::move(known.error()));
        if (!*known) continue;
        auto removed = *presence == Presence::running ? remove_live(work, vm, disk, **pool, id)
                                                      : (*pool)->remove_snapshot(disk.volume, id);
        if (!removed && removed.error().kind() != ErrorKind::not_found)
            return fail(std::move(removed.error())
                            .during("merge " + disk.target)
                            .keeping("all data; the snapshot is unlisted, its layer is not merged")
                            .advising(fmt::format("`understudy task retry {}` goes on.",
                                                  work.task().id.text())));
    }
    return *presence == Presence::stopped ? follow_heads(work.site(), vm, disks) : Result<>{};
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

Result<ports::Adapted> rehearse(Site& site, const ClusterId& owner, const std::string& domain_xml,
                                const std::vector<model::SnapshotDisk>& disks) {
    auto networks = networks_from(site, owner);
    if (!networks) return std::unexpected(std::move(networks.error()));
    ports::AdaptRequest request;
    request.domain_xml = domain_xml;
    request.networks = std::move(*networks);
    for (const auto& disk : disks)
        request.disks.push_back({disk.target, {"file", "qcow2", "/" + disk.volume.text()}});
    return site.hypervisor.adapt(request);
}

Result<std::vector<std::string>> define_from_snapshot(Work& work, const model::Snapshot& snapshot,
                                                      const std::vector<ports::DiskSwitch>& disks,
                                                      const ClusterId& owner,
                                                      const std::vector<std::string>& accepted) {
    auto& site = work.site();
    auto networks = networks_from(site, owner);
    if (!networks) return std::unexpected(std::move(networks.error()));
    auto definition = site.catalog.definition(snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    ports::AdaptRequest request;
    request.domain_xml = definition->domain_xml;
    request.disks = disks;
    request.networks = std::move(*networks);
    auto adapted = site.hypervisor.adapt(request);
    if (!adapted) return std::unexpected(std::move(adapted.error()).during("adapt the definition"));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted->issues, accepted));
    for (const auto& change : adapted->changes) work.log(change);
    if (!adapted->nvram_path.empty() && !definition->nvram.empty())
        UNDERSTUDY_TRY(site.hypervisor.write_nvram(adapted->nvram_path, definition->nvram));
    auto defined = site.hypervisor.define(adapted->domain_xml);
    if (!defined) return std::unexpected(std::move(defined.error()).during("define the VM"));
    return std::move(adapted->changes);
}

std::vector<model::VmDisk> vm_disks(const std::vector<model::SnapshotDisk>& disks) {
    std::vector<model::VmDisk> made;
    for (const auto& disk : disks) made.push_back({disk.target, disk.volume, disk.pool});
    return made;
}

}  // namespace understudy::tasks
