#pragma once

#include "mover/disk_comparison.hpp"
#include "tasks/queue/site.hpp"

#include <memory>
#include <vector>

// What is told to a peer that compares its copy of a VM's disks with the one here, and how this
// side looks at its own. All of it only reads.
namespace understudy::tasks {

// What a peer may ask: its own VM's replica here, whatever of it there is; of a VM owned here the
// snapshots that it was sent or took itself. Anything else is as if it were not there.
Result<model::DigestAnswer> answer_digests(Site& site, const ClusterId& from,
                                           const model::DigestQuestion& asked);
// Only of a VM owned here: what its replica is repaired with.
Result<std::string> answer_range(Site& site, const ClusterId& from,
                                 const model::RangeQuestion& asked);
// Of a replica of the peer's, or of volumes that belong to no VM that is known here.
Result<std::vector<model::VolumeBase>> answer_contents(Site& site, const ClusterId& from,
                                                       const VmId& vm,
                                                       const std::vector<VolumeId>& volumes);

}  // namespace understudy::tasks
