#pragma once

#include "tasks/queue/work.hpp"

#include <map>
#include <vector>

namespace understudy::tasks {

// Writable heads on a snapshot, one per disk.
Result<std::vector<ports::DiskSwitch>> activate_disks(Site& site,
                                                      const std::vector<model::SnapshotDisk>& disks,
                                                      const SnapshotId& id,
                                                      ports::ActivationKind kind);

// Describes the heads that activate_disks would make; nothing is made. For rehearsals.
Result<std::vector<ports::DiskSwitch>> outlined_disks(
    Site& site, const std::vector<model::SnapshotDisk>& disks);

// For each network name of a cluster, the name that its VMs use here. Empty if it is no peer.
Result<std::map<std::string, std::string>> networks_from(Site& site, const ClusterId& owner);

// What would change and what stands in the way if a VM of `owner` were defined here now. Nothing is
// made or defined: the heads are those that outlined_disks describes.
Result<ports::Adapted> rehearse(Site& site, const ClusterId& owner, const std::string& domain_xml,
                                const std::vector<model::SnapshotDisk>& disks);

// The same for a VM that may be defined here already. Finds what define_from_snapshot would find.
Result<ports::Adapted> rehearse_here(Site& site, const model::Snapshot& snapshot,
                                     const ClusterId& owner);

// Defines the VM in libvirt as it was in a snapshot, adapted to this host and on these disks, with
// its UEFI variables. What was changed goes to the log and is returned. refused: a `blocks` issue
// that is not in `accepted`. `owner` is the cluster whose network names the snapshot uses.
Result<std::vector<std::string>> define_from_snapshot(Work& work, const model::Snapshot& snapshot,
                                                      const std::vector<ports::DiskSwitch>& disks,
                                                      const ClusterId& owner,
                                                      const std::vector<std::string>& accepted);

}  // namespace understudy::tasks
