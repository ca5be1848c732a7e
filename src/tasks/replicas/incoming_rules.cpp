#include "tasks/replicas/incoming_rules.hpp"

#include "engine/lineage.hpp"
#include "tasks/disks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {

// Names are for people, and each side keeps and removes its own snapshots: a snapshot here may have
// the name that the source has given anew. Its parent is the snapshot that it is built on here:
// another ancestor may be here, too, but increments from that one could not be read from this
// storage.
Result<model::Snapshot> as_listed_here(Site& site, model::Snapshot snapshot,
                                       const std::optional<SnapshotId>& base) {
    auto here = UNDERSTUDY_VALUE(site.catalog.snapshots(snapshot.vm));
    const bool taken = std::any_of(here.begin(), here.end(), [&](const auto& other) {
        return other.name == snapshot.name && other.id != snapshot.id;
    });
    if (taken) snapshot.name = fmt::format("{}~{}", snapshot.name, snapshot.id.text().substr(0, 8));
    snapshot.parent = base;
    return snapshot;
}

Result<std::vector<model::Hold>> base_hold(Site& site, const ClusterId& source,
                                           const model::Snapshot& incoming) {
    const model::Hold base{incoming.id, model::HoldKind::base, source.text()};
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(incoming.vm));
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(incoming.vm));
    snapshots.push_back(incoming);
    for (const auto& hold : holds)
        if (hold.kind == model::HoldKind::base && hold.detail == base.detail &&
            engine::is_newer(snapshots, hold.snapshot, incoming.id))
            return std::vector<model::Hold>{};
    return std::vector{base};
}

Result<> check_volumes_are_its_own(Site& site, const VmId& id,
                                   const std::vector<model::SnapshotDisk>& disks) {
    const auto check = [&](const VolumeId& volume) -> Result<> {
        for (const auto& disk : disks)
            if (disk.volume == volume)
                return fail(Error(ErrorKind::refused,
                                  fmt::format("the volume of disk '{}' belongs to another VM here",
                                              disk.target))
                                .advising("Release the VM and take a fresh snapshot: it gets new "
                                          "volumes."));
        return {};
    };
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    for (const auto& other : transfers)
        if (other.request.vm != id)
            for (const auto& disk : other.request.snapshot.disks)
                UNDERSTUDY_TRY(check(disk.volume));
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    for (const auto& vm : vms) {
        if (vm.id == id) continue;
        auto own = UNDERSTUDY_VALUE(known_disks(site, vm.id));
        for (const auto& disk : own) UNDERSTUDY_TRY(check(disk.volume));
    }
    return {};
}

}  // namespace understudy::tasks
