#pragma once

#include "tasks/queue/work.hpp"
#include "tasks/records/disk_records.hpp"

#include <optional>
#include <vector>

namespace understudy::tasks {

// The disk of the VM that is on this volume's head, or nothing: it may have been unplugged, and
// another one may have taken its place. A live merge that was cut off is settled by what the VM is
// defined with. conflict: an interrupted snapshot has put the VM on a layer that no pool has
// recorded; nothing under that layer may be touched.
Result<std::optional<ports::DiskDescription>> reconcile_attached_disk(
    Site& site, const ports::VmDescription& described, const model::VmDisk& disk);

// Takes one snapshot, already unlisted in the catalog, out of its volumes: live under a running
// VM, offline otherwise and for a disk that the VM no longer has. Volumes that nothing needs after
// that are forgotten. Idempotent. `follow` is the kind's, in its memo.
Result<> remove_from_volumes(Work& work, FollowedDisks& follow, const VmId& vm,
                             const std::vector<model::SnapshotDisk>& disks, const SnapshotId& id);

}  // namespace understudy::tasks
