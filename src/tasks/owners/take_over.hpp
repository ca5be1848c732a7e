#pragma once

#include "tasks/queue/site.hpp"

namespace understudy::tasks {

// The target's side of a handover (`vm move` elsewhere): what the peers' API calls. Both answer
// with this cluster's record of who owns the VM, and are idempotent. The record decides between the
// two: a VM that was taken is not declined, and an offer that was declined is not taken.

// Takes the VM over: a task that defines and starts it is queued, and the record changed, before it
// returns. refused, unsupported …: not now, and why; nothing has changed.
Result<model::Ownership> take_over(Site& site, const ClusterId& from,
                                   const ports::Handover& handover);

// The source wants back the VM that it offered.
Result<model::Ownership> decline(Site& site, const ClusterId& from, const VmId& vm,
                                 const model::Ownership& offered);

// For the source, which waits for the VM to run: adds the VM's state in the hypervisor and, if it
// does not run, why not.
Result<> fill_vm_state(Site& site, const VmId& vm, ports::PeerVm& answer);

}  // namespace understudy::tasks
