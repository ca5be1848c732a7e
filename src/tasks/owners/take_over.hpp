#pragma once

#include "tasks/queue/site.hpp"

namespace understudy::tasks {

// The target's side of a handover (`vm move` elsewhere): what the peers' API calls. Both answer
// with this cluster's record of who owns the VM, and are idempotent. Between the two the record
// decides: what is taken is not declined, and what is declined is not taken.

// Takes the VM over: a task that defines and starts it is queued, and the record changed, before it
// returns. refused, unsupported …: not now, and why; nothing has changed.
Result<model::Ownership> take_over(Site& site, const ClusterId& from,
                                   const ports::Handover& handover);

// The source wants the VM back that it offered.
Result<model::Ownership> decline(Site& site, const ClusterId& from, const VmId& vm,
                                 const model::Ownership& offered);

// For the source that waits for the VM to run: what the hypervisor says, and why it does not.
Result<> fill_vm_state(Site& site, const VmId& vm, ports::PeerVm& answer);

}  // namespace understudy::tasks
