#pragma once

#include "mover/disk_comparison.hpp"
#include "tasks/queue/site.hpp"

#include <memory>
#include <vector>

// Answers to a peer that compares its copy of a VM's disks with the copy here. All of it only
// reads.
namespace understudy::tasks {

// A peer may ask about its own VM's replica here, and about those snapshots of a VM owned here that
// it was sent or took itself. Anything else is answered as if it were not there.
Result<model::DigestAnswer> answer_digests(Site& site, const ClusterId& from,
                                           const model::DigestQuestion& asked);
// Bytes to repair a replica with. Only of a VM that is owned here.
Result<std::string> answer_range(Site& site, const ClusterId& from,
                                 const model::RangeQuestion& asked);
// Only about a replica of the peer's VM, or about volumes that belong to no VM that is known here.
Result<std::vector<model::VolumeBase>> answer_contents(Site& site, const ClusterId& from,
                                                       const VmId& vm,
                                                       const std::vector<VolumeId>& volumes);

}  // namespace understudy::tasks
