#include "tasks/disks/definition.hpp"

#include "engine/send_plan.hpp"
#include "tasks/disks/volumes.hpp"

#include <fmt/format.h>

// What libvirt needs to run a snapshot's disks here, in this order: writable heads on the disks,
// the definition adapted to this host, the UEFI variables, and the VM defined last. The functions
// named rehearse… stop after adapting: they make nothing. A crash leaves heads or UEFI variables
// without the definition for them; run again, the step gets the same heads and defines the VM.

namespace understudy::tasks {

Result<std::vector<ports::DiskSwitch>> activate_disks(Site& site,
                                                      const std::vector<model::SnapshotDisk>& disks,
                                                      const SnapshotId& id,
                                                      ports::ActivationKind kind) {
    std::vector<ports::DiskSwitch> switches;
    for (const auto& disk : disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto head = pool->activate(disk.volume, id, kind);
        if (!head) return fail(std::move(head.error()).during("activate " + disk.target));
        switches.push_back({disk.target, std::move(*head)});
    }
    return switches;
}

Result<std::map<std::string, std::string>> networks_from(Site& site, const ClusterId& owner) {
    auto peer = site.catalog.peer(owner);
    if (peer) return std::move(peer->networks);
    if (peer.error().kind() == ErrorKind::not_found) return std::map<std::string, std::string>{};
    return error_of(peer);
}

Result<std::vector<ports::DiskSwitch>> outlined_disks(
    Site& site, const std::vector<model::SnapshotDisk>& disks) {
    std::vector<ports::DiskSwitch> outlined;
    for (const auto& disk : disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        outlined.push_back({disk.target, pool->outline(disk.volume)});
    }
    return outlined;
}

Result<ports::Adapted> rehearse(Site& site, const ClusterId& owner, const std::string& domain_xml,
                                const std::vector<model::SnapshotDisk>& disks) {
    auto networks = UNDERSTUDY_VALUE(networks_from(site, owner));
    ports::AdaptRequest request;
    request.domain_xml = domain_xml;
    request.networks = std::move(networks);
    request.disks = UNDERSTUDY_VALUE(outlined_disks(site, disks));
    return site.hypervisor.adapt(request);
}

namespace {

Result<ports::Adapted> adapt_snapshot(Site& site, const model::Snapshot& snapshot,
                                      const ClusterId& owner, const std::string& domain_xml,
                                      const std::vector<ports::DiskSwitch>& disks) {
    auto networks = UNDERSTUDY_VALUE(networks_from(site, owner));
    ports::AdaptRequest request;
    request.domain_xml = domain_xml;
    request.disks = disks;
    request.networks = std::move(networks);
    request.from_here = snapshot.origin == site.cluster.id;
    auto described = UNDERSTUDY_VALUE(described_vm(site, snapshot.vm));
    if (described) request.new_name = described->summary.name;  // of a VM that was renamed
    return site.hypervisor.adapt(request);
}

}  // namespace

Result<ports::Adapted> rehearse_here(Site& site, const model::Snapshot& snapshot,
                                     const ClusterId& owner) {
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    auto disks = UNDERSTUDY_VALUE(outlined_disks(site, snapshot.disks));
    return adapt_snapshot(site, snapshot, owner, definition.domain_xml, disks);
}

Result<std::vector<std::string>> define_from_snapshot(Work& work, const model::Snapshot& snapshot,
                                                      const std::vector<ports::DiskSwitch>& disks,
                                                      const ClusterId& owner,
                                                      const std::vector<std::string>& accepted) {
    auto& site = work.site();
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    auto adapted = adapt_snapshot(site, snapshot, owner, definition.domain_xml, disks);
    if (!adapted) return fail(std::move(adapted.error()).during("adapt the definition"));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted->issues, accepted));
    for (const auto& change : adapted->changes) work.log(change);
    if (!adapted->nvram_path.empty() && !definition.nvram.empty())
        UNDERSTUDY_TRY(site.hypervisor.write_nvram(adapted->nvram_path, definition.nvram));
    auto defined = site.hypervisor.define(adapted->domain_xml);
    if (!defined) return fail(std::move(defined.error()).during("define the VM"));
    return std::move(adapted->changes);
}

}  // namespace understudy::tasks
