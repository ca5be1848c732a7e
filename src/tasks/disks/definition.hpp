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

// What those heads would look like; nothing is made. For rehearsals.
Result<std::vector<ports::DiskSwitch>> outlined_disks(
    Site& site, const std::vector<model::SnapshotDisk>& disks);

// What the networks of a cluster are called here, for its VMs; nothing for one that is no peer.
Result<std::map<std::string, std::string>> networks_from(Site& site, const ClusterId& owner);

// What would change and what stands in the way if a VM of `owner` were defined here now. Nothing
// is; its disks stand for the heads that activate_disks would make.
Result<ports::Adapted> rehearse(Site& site, const ClusterId& owner, const std::string& domain_xml,
                                const std::vector<model::SnapshotDisk>& disks);

// The same for a VM that may be defined here already: what define_from_snapshot will meet.
Result<ports::Adapted> rehearse_here(Site& site, const model::Snapshot& snapshot,
                                     const ClusterId& owner);

// Defines the VM in libvirt as it was in a snapshot, adapted to this host and on these disks, with
// its UEFI variables. What was changed goes to the log and is returned. refused: a `blocks` issue
// that is not in `accepted`. `owner` is whose names of networks the snapshot uses.
Result<std::vector<std::string>> define_from_snapshot(Work& work, const model::Snapshot& snapshot,
                                                      const std::vector<ports::DiskSwitch>& disks,
                                                      const ClusterId& owner,
                                                      const std::vector<std::string>& accepted);

}  // namespace understudy::tasks
