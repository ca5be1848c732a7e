#pragma once

#include "tasks/queue/work.hpp"

#include <optional>
#include <set>
#include <vector>

namespace understudy::tasks {

// What several kinds of task do with a VM's volumes.

// Whether libvirt has the VM here, and if so whether it runs.
enum class Presence { undefined, stopped, running };
Result<Presence> presence_of(Site& site, const VmId& vm);
// Nothing: libvirt does not have the VM here.
Result<std::optional<ports::VmDescription>> described_vm(Site& site, const VmId& vm);

// All volumes that the VM's record and its snapshots here refer to, each once.
Result<std::vector<model::VmDisk>> known_disks(Site& site, const VmId& vm);

// Which of these volumes has its head there, or nothing.
Result<std::optional<model::VmDisk>> volume_at(Site& site, const std::vector<model::VmDisk>& disks,
                                               const ports::DiskSource& source);

// Volumes that the VM, its snapshots here or any transfer refer to; `ending` is a transfer that
// does not count any more.
Result<std::set<VolumeId>> volumes_in_use(Site& site, const VmId& vm,
                                          std::optional<TransferId> ending = {});

// Forgets the VM's volumes to which neither a snapshot nor a transfer nor the VM itself refers any
// more: those of a disk that was unplugged, or whose first snapshot failed. A volume with a head
// stays a disk, with all that its guest wrote; one that was received for a replica is deleted.
// `ending` as above.
Result<> forget_unused(Site& site, const VmId& vm, const std::vector<model::VmDisk>& disks,
                       std::optional<TransferId> ending = {});

// The snapshot that a replica would go on from (engine::newest_point). Nothing: it has none.
Result<std::optional<model::Snapshot>> newest_point(Site& site, const model::Vm& replica);

// Keeps a snapshot for as long as a task needs it; both idempotent.
Result<> hold_for_task(Work& work, const SnapshotId& id);
Result<> let_go_for_task(Work& work, const SnapshotId& id);

std::vector<model::VmDisk> vm_disks(const std::vector<model::SnapshotDisk>& disks);

}  // namespace understudy::tasks
