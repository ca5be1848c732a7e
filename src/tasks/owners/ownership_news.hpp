#pragma once

#include "tasks/queue/site.hpp"

#include <set>
#include <vector>

namespace understudy::tasks {

// What is told to a peer: this cluster's view of every VM that the two share (owned by it, or sent
// to it, by either side's doing).
Result<std::vector<ports::OwnershipNote>> ownership_notes_for(Site& site, const ClusterId& peer);

// The other clusters whose business a VM is, too: it is owned there, was sent there, was once
// received from there, or one of these says that it has snapshots of it.
Result<std::set<ClusterId>> sharers_of(Site& site, const model::Vm& vm);
Result<bool> shared_with(Site& site, const model::Vm& vm, const ClusterId& peer);

// What a peer with which a VM is shared is told, so that two replicas of one dead owner know of
// each other: those but itself. And what it told: of these, those that are peers of this cluster.
Result<std::vector<ClusterId>> holders_beside(Site& site, const model::Vm& vm,
                                              const ClusterId& peer);
Result<> note_holders(Site& site, const VmId& vm, const std::vector<ClusterId>& named);

// Takes in what a peer says. It is believed only about VMs that the two share, and only where it
// claims a VM for itself. A VM found running here after it was superseded is paused at once: its
// writes are kept, and it does not run twice.
Result<> hear_ownership(Site& site, const ClusterId& peer,
                        const std::vector<ports::OwnershipNote>& notes);
// The same for who is in the middle of an offer: what is being received stays.
Result<> hear_claims(Site& site, const ClusterId& peer,
                     const std::vector<ports::OwnershipNote>& notes);

// Exchanges both with one peer, and capabilities: what the daemon does now and then, and before it
// starts a VM that has a replica.
Result<> contact_peer(Site& site, const ClusterId& peer, const model::Capabilities& ours);

// What a start of a VM must pass: no task is, or was when it was cut off, amid a change of its
// layers; and the peers with a replica are asked first, so that a VM promoted elsewhere while this
// cluster was away does not run twice. A peer that does not answer cannot object. Nothing stops a
// VM that Understudy does not know.
Result<> check_start(Site& site, const VmId& vm);

// The second half of it, without a word to the hypervisor: what libvirt's hook asks in the middle
// of a start, when libvirt answers nobody about that VM.
Result<> check_may_start(Site& site, const VmId& vm);

}  // namespace understudy::tasks
