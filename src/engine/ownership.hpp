#pragma once

#include "base/error.hpp"
#include "model/vm.hpp"

#include <optional>
#include <string>

namespace understudy::engine {

using model::Ownership;

// The rules of who may run a VM. Pure. Every change of an Ownership goes through one of these, and
// nothing starts a VM without may_start. ARCHITECTURE.md shows them as one table.

// A VM that only libvirt knew is taken into Understudy here.
Ownership adopted_by(const ClusterId& self);

// A VM whose first snapshot came from `owner` under its ownership.
Ownership replica_of(const Ownership& at_source);

// Failover: this cluster, which has a replica, becomes the owner under the next epoch. refused: the
// VM is owned here already, being handed over, or superseded (then the operator resolves first).
Result<Ownership> promoted(const Ownership& here, const ClusterId& self);

// Handover, at the source: the VM is given to `target` under the next epoch. This is recorded
// before the target is asked; from then on only the target decides. refused: it is not owned here.
Result<Ownership> handing_over(const Ownership& here, const ClusterId& self,
                               const ClusterId& target);

// Handover, at the target: the replica here becomes owned when `source` offers the VM. If it was
// taken before, nothing changes (a repeated request). refused: another owner or a later decision is
// known here.
Result<Ownership> taken_over(const Ownership& here, const Ownership& offered, const ClusterId& self,
                             const ClusterId& source);

// Handover, at the target: the VM will never be taken. The source becomes the owner under the epoch
// after the offered one, so that the offer is outdated if it comes late. If the VM was taken
// already, or if the record here names an owner that prevails over the source, nothing changes.
Ownership declined(const Ownership& here, const Ownership& offered, const ClusterId& source);

// Handover, at the source: what this cluster's record becomes when `target` has told its own:
// - replica, if the target has taken the VM;
// - owned, if the target has declined it;
// - superseded, as if the VM had never been offered, if the target knows an owner that prevails
//   over the ownership that we had before the offer. Records at the target only rise, so it can no
//   longer take the offer.
// Nothing: the target has not decided.
std::optional<Ownership> after_answer(const Ownership& here, const Ownership& there,
                                      const ClusterId& self, const ClusterId& target);

// Resolve, for a VM that is superseded here. kept_there: its line here is given up for the owner's.
// kept_here: it goes on here under the next epoch; also for a VM that was being handed over to a
// cluster that is lost. refused: there is nothing to resolve.
Result<Ownership> kept_there(const Ownership& here);
Result<Ownership> kept_here(const Ownership& here, const ClusterId& self);

// Whether some rule above allows this change of a record.
bool is_transition(const Ownership& from, const Ownership& to, const ClusterId& self);

// What this cluster's record becomes when it hears a peer's. Nothing: it stays. The higher epoch
// wins. If there are two owners under one epoch, the higher cluster id wins, so that both sides
// decide alike and at most one goes on.
std::optional<Ownership> after_hearing(const Ownership& here, const Ownership& there,
                                       const ClusterId& self);

// Whether this cluster may start the VM now. refused: the text says who owns it and what to do.
Result<> may_start(const Ownership& here, const ClusterId& self, const std::string& vm_name,
                   const std::string& owner_name);

// Whether this cluster takes a snapshot of this VM from `source`: the source must own the VM by
// what both sides know. refused otherwise; the text says why.
Result<> may_receive(const std::optional<Ownership>& here, const Ownership& offered,
                     const ClusterId& self, const ClusterId& source, const std::string& vm_name);

// The record of a VM after a snapshot of it was taken in from a file that says whose it was. If the
// VM is known here, its record stays as it is: a file changes no owner. refused: the file says that
// we own the VM, but no record here does; or the VM is being handed over.
Result<Ownership> after_import(const std::optional<Ownership>& here, const Ownership& in_file,
                               const ClusterId& self, const std::string& vm_name);

}  // namespace understudy::engine
