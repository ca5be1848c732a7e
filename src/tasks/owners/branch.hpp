#pragma once

#include "tasks/queue/work.hpp"

namespace understudy::tasks {

// A VM that was superseded here, or is a replica's from now on, may hold writes that nobody else
// has. They are kept as a snapshot, held as a branch until the operator lets go of it.

// Queues the task that keeps them, once per VM and epoch; nothing to do for a VM that libvirt does
// not have here.
Result<> see_branch_kept(Site& site, const model::Vm& vm, const model::Ownership& ownership);

// Whether the VM's disks, as libvirt has them now, hold nothing that snapshot `on` does not. False
// also when there is a disk that no snapshot knows, and without a snapshot. The VM is stopped or
// stands still. `disks` are those of its record.
Result<bool> holds_nothing_beyond(Site& site, const VmId& vm,
                                  const std::vector<model::VmDisk>& disks,
                                  const std::optional<SnapshotId>& on);

// Records in the memo, as `departs_from`, a snapshot that holds all that the VM's disks do: `on`,
// or one that is taken now and held as a branch. Asked again at every attempt, because disks can be
// written to and grown for as long as the VM is defined. The VM is stopped or stands still.
Result<> see_all_kept(Work& work, std::optional<SnapshotId>& departs_from, const VmId& vm,
                      const std::vector<model::VmDisk>& disks, const std::optional<SnapshotId>& on);

// What was this cluster's VM becomes nobody's here: writes that no snapshot has are kept as a
// branch, its definition and its heads go, its snapshots stay. It must not run. `disks` and `on`
// are its disks and what its heads were made on; `departs_from` as above. Idempotent.
Result<> depart(Work& work, std::optional<SnapshotId>& departs_from, const VmId& vm,
                const std::vector<model::VmDisk>& disks, const std::optional<SnapshotId>& on);

}  // namespace understudy::tasks
