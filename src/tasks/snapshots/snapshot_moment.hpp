#pragma once

#include "tasks/queue/work.hpp"

#include <string>
#include <vector>

namespace understudy::tasks {

// The heart of snapshot_create: the heads that its disks get, and the one moment. What was planned
// and how far it came stands in the task's memo:
//   disks        the volumes, one per disk of the VM
//   heads        per disk what prepare_heads made; `overlay` false: the disk stays on its head
//   domain_xml   the definition, saved when the moment is about to begin, and kept from then on
//   taken        when an attempt at the moment began; its outcome is unknown until `consistency`
//                is set, or forget_heads has removed the heads
//   consistency  the moment has passed

std::vector<model::VmDisk> planned_disks(Work& work);

Result<const ports::DiskDescription*> disk_now(const ports::VmDescription& described,
                                               const std::string& target);

// Whether the VM is on its overlays. All disks with overlays are switched at once, so one disk that
// is on its overlay stands for all, also for disks that were unplugged since. A disk without an
// overlay was snapshotted before that.
bool is_switched(Work& work, const ports::VmDescription& described);

// Makes the future heads, which nothing uses yet. Idempotent.
Result<> prepare_heads(Work& work, const ports::VmDescription& described);

// Removes the heads again; the moment is as if it had never begun. A head whose writes may be on no
// disk is kept under another name; the log and an event say so.
Result<> forget_heads(Work& work);

// For a VM that is off and is about to start. refused: a snapshot of the VM was interrupted, and
// its last writes are in an overlay that it does not use yet. If it started now, it would lack
// them. Any thread.
Result<> check_no_moment_is_open(Site& site, const VmId& vm);

// A daemon that died in the middle of the moment has left the guest frozen, or standing still.
void let_guest_go_on(Work& work);

// conflict: the VM's disks have changed since the plan; nothing was switched.
Result<> moment(Work& work);

// Whether the moment has passed: the VM is on its overlays. Asked when the task is to end. If the
// VM was switched off after an attempt, nobody knows what its overlays hold: the moment is
// completed now.
Result<bool> complete_or_give_up_switch(Work& work);

}  // namespace understudy::tasks
