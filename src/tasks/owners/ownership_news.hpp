#pragma once

#include "tasks/queue/site.hpp"

#include <set>
#include <vector>

namespace understudy::tasks {

// What this cluster tells a peer: its view of every VM that the two share (see sharers_of).
Result<std::vector<ports::OwnershipNote>> ownership_notes_for(Site& site, const ClusterId& peer);

// The other clusters that share a VM: they own it, were sent it, or once sent it here; or one of
// these clusters says that they have snapshots of it.
Result<std::set<ClusterId>> sharers_of(Site& site, const model::Vm& vm);
Result<bool> shared_with(Site& site, const model::Vm& vm, const ClusterId& peer);

// The clusters that share the VM, without `peer`: the peer is told of them, so that two replicas of
// one dead owner know of each other. record_holders records what a peer told in the same way;
// clusters that are no peers of this one are left out.
Result<std::vector<ClusterId>> holders_beside(Site& site, const model::Vm& vm,
                                              const ClusterId& peer);
Result<> record_holders(Site& site, const VmId& vm, const std::vector<ClusterId>& named);

// Takes in what a peer says of owners. The peer is believed only about VMs that the two share, and
// only where it claims a VM for itself. A VM found running here after it was superseded is paused
// at once: its writes are kept, and it does not run twice.
Result<> apply_peer_ownership(Site& site, const ClusterId& peer,
                              const std::vector<ports::OwnershipNote>& notes);
// The same without giving up any transfer: for a peer that is just offering one.
Result<> apply_peer_claims(Site& site, const ClusterId& peer,
                           const std::vector<ports::OwnershipNote>& notes);

// Exchanges owners and capabilities with one peer. The daemon does this periodically, and before it
// starts a VM that has a replica.
Result<> contact_peer(Site& site, const ClusterId& peer, const model::Capabilities& ours);

// The record that this cluster would have of the VM after it heard the peer's claim. Changes
// nothing.
Result<model::Ownership> ownership_after(Site& site, const model::Vm& vm, const ClusterId& peer,
                                         const model::Ownership& claim);

// The check before a VM is started: first refresh_owner_then_check; then no task may be in the
// middle of a change of the VM, not even an interrupted one.
Result<> check_start(Site& site, const VmId& vm);

// Asks the peers that share the VM first, so that a VM that was promoted elsewhere while this
// cluster was away does not run twice. What they claim is recorded: if they are silent at the next
// attempt, it is refused all the same. Then this cluster's record decides. A peer that does not
// answer stops nothing, and a VM that Understudy does not know may start. The hypervisor is not
// asked: libvirt's hook calls this in the middle of a start, when libvirt answers nobody about that
// VM.
Result<> refresh_owner_then_check(Site& site, const VmId& vm);

// The same answer, but nothing is recorded: for a question without a start.
Result<> check_may_start(Site& site, const VmId& vm);

}  // namespace understudy::tasks
