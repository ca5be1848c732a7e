#pragma once

#include "tasks/queue/work.hpp"

#include <set>
#include <string>

// Drills are rehearsals of a replica's start. This is for the code that asks for drills, and for
// the tasks that a drill must not disturb.
namespace understudy::tasks {

struct DrillWishes {
    std::string wait;     // as of parse_boot_check
    Duration limit{0};    // for the guest to boot; 0: as configured
    std::string network;  // an isolated one; empty: none at all
};

// Not added yet. The caller has checked the wishes.
model::Task new_drill(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                      const DrillWishes& wishes);

// The copy's UUID in libvirt, which is its task's id.
VmId rehearsal_of(const TaskId& task);
// All copies that are or may be in libvirt here. They do not count as VMs.
Result<std::set<VmId>> rehearsals(Site& site);

// Asks the VM's drills to end. A more urgent task calls this and does not wait for them.
Result<> cancel_drills(Site& site, const VmId& vm);
// conflict: a drill stands on the VM's disks here.
Result<> check_no_drill(Site& site, const VmId& vm);

}  // namespace understudy::tasks
