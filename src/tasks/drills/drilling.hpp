#pragma once

#include "tasks/queue/work.hpp"

#include <set>
#include <string>

// Rehearsals of a replica's start: what those who ask for them and those who must not be disturbed
// by them need to know.
namespace understudy::tasks {

struct DrillWishes {
    std::string wait;     // as of parse_boot_check
    Duration limit{0};    // for the guest to boot; 0: as configured
    std::string network;  // an isolated one; empty: none at all
};

// Not added yet. The caller has checked the wishes.
model::Task new_drill(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                      const DrillWishes& wishes);

// The copy's UUID in libvirt: that of its task.
VmId rehearsal_of(const TaskId& task);
// All copies that are or may be in libvirt here: no VMs of their own.
Result<std::set<VmId>> rehearsals(Site& site);

// Asks the VM's drills to end; what is more urgent does not wait for them.
Result<> cancel_drills(Site& site, const VmId& vm);
// conflict: a drill stands on the VM's disks here.
Result<> check_no_drill(Site& site, const VmId& vm);

}  // namespace understudy::tasks
