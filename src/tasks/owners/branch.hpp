#pragma once

#include "tasks/queue/work.hpp"

namespace understudy::tasks {

// A VM that was superseded here, or is a replica's from now on, may hold writes that nobody else
// has. They are kept as a snapshot, held as a branch until the operator lets go of it.

// Queues the task that keeps them, once per VM and epoch; nothing to do for a VM that libvirt does
// not have here.
Result<> see_branch_kept(Site& site, const model::Vm& vm, const model::Ownership& ownership);

// Whether everything on the VM's disks is also in snapshot `on`. The disks are those that libvirt
// has now. False also if one of them is not in the snapshot, or if there is no snapshot. The VM is
// stopped or stands still. `disks` are those of its record.
Result<bool> holds_nothing_beyond(Site& site, const VmId& vm,
                                  const std::vector<model::VmDisk>& disks,
                                  const std::optional<SnapshotId>& on);

// Records in the memo, as `departs_from`, a snapshot that holds all that the VM's disks do: `on`,
// or one that is taken now and held as a branch. Asked again at every attempt, because disks can be
// written to and grown for as long as the VM is defined. The VM is stopped or stands still.
Result<> see_all_kept(Work& work, std::optional<SnapshotId>& departs_from, const VmId& vm,
                      const std::vector<model::VmDisk>& disks, const std::optional<SnapshotId>& on);

// Removes the VM from this cluster: writes that no snapshot has are kept as a branch, its
// definition and its heads are removed, its snapshots stay. It must not run. `disks` are its disks,
// and `on` is the snapshot that its heads were made on; `departs_from` as above. Idempotent.
Result<> depart(Work& work, std::optional<SnapshotId>& departs_from, const VmId& vm,
                const std::vector<model::VmDisk>& disks, const std::optional<SnapshotId>& on);

}  // namespace understudy::tasks
