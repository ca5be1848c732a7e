#pragma once

#include "tasks/work.hpp"

#include <optional>
#include <set>
#include <vector>

namespace understudy::tasks {

// What several kinds of task do with a VM's volumes.

// Whether libvirt has the VM here, and if so whether it runs.
enum class Presence { undefined, stopped, running };
Result<Presence> presence_of(Site& site, const VmId& vm);

// All volumes that the VM's record and its snapshots here refer to, each once.
Result<std::vector<model::VmDisk>> known_disks(Site& site, const VmId& vm);

// Which of these volumes has its head there, or nothing.
Result<std::optional<model::VmDisk>> volume_at(Site& site, const std::vector<model::VmDisk>& disks,
                                               const ports::DiskSource& source);

// The disk of the VM that is on this volume's head, or nothing: it may have been unplugged, and
// another one may have taken its place. A live merge that was cut off is settled by what the VM is
// defined with. conflict: the VM is on a layer that no pool has recorded, by a snapshot that was
// cut off half-way; nothing under it may be touched.
Result<std::optional<ports::DiskDescription>> attached_disk(Site& site,
                                                            const ports::VmDescription& described,
                                                            const model::VmDisk& disk);

// Takes one snapshot, already unlisted in the catalog, out of its volumes: live under a running
// VM, offline otherwise and for a disk that the VM no longer has. Volumes that nothing needs after
// that are forgotten. Idempotent.
Result<> remove_from_volumes(Work& work, const VmId& vm,
                             const std::vector<model::SnapshotDisk>& disks, const SnapshotId& id);

// Volumes that the VM, its snapshots here or any transfer refer to; `ending` is a transfer that
// does not count any more.
Result<std::set<VolumeId>> volumes_in_use(Site& site, const VmId& vm,
                                          std::optional<TransferId> ending = {});

// Forgets those of the VM's volumes that no snapshot, no transfer and the VM itself do not refer to
// any more: of a disk that was unplugged, or whose first snapshot failed. One with a head stays a
// disk, with all that its guest wrote; what was received for a replica goes. `ending` as above.
Result<> forget_unused(Site& site, const VmId& vm, const std::vector<model::VmDisk>& disks,
                       std::optional<TransferId> ending = {});

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

// A snapshot that was cut off half-way comes first: it has volumes and layers, on which the VM may
// be already, that only its task knows. conflict until it has ended. `asking`: the task that asks,
// whose own parts do not count.
Result<> check_no_snapshot_is_half_done(Site& site, const VmId& vm,
                                        const std::optional<TaskId>& asking = {});

// Of the VM's other tasks those come first that were cut off before the catalog or the pools knew
// what the VM is on: a snapshot whose moment has passed, a rollback that has defined the VM anew,
// and a VM's departure from here. None waits for anybody any more. conflict until they have ended.
Result<> check_nothing_is_half_done(Work& work);

// What a replica would go on from: engine::newest_point. Nothing: it has no such snapshot.
Result<std::optional<model::Snapshot>> newest_point(Site& site, const model::Vm& replica);

// Keeps a snapshot for as long as a task needs it; both idempotent.
Result<> hold_for_task(Work& work, const SnapshotId& id);
Result<> let_go_for_task(Work& work, const SnapshotId& id);

std::vector<model::VmDisk> vm_disks(const std::vector<model::SnapshotDisk>& disks);

}  // namespace understudy::tasks
