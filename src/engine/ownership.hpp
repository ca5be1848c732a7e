#pragma once

#include "base/error.hpp"
#include "model/vm.hpp"

#include <optional>
#include <string>

namespace understudy::engine {

using model::Ownership;

// The rules of who may run a VM. Pure: every change of an Ownership goes through one of these, and
// nothing starts a VM without may_start. ARCHITECTURE.md shows them as one table.

// A VM that was only libvirt's comes under Understudy here.
Ownership adopted_by(const ClusterId& self);

// A VM whose first snapshot came from `owner` under its ownership.
Ownership replica_of(const Ownership& at_source);

// Failover: the replica here becomes the owner under the next epoch.
// refused: owned here already, or superseded (then the operator resolves first).
Result<Ownership> promoted(const Ownership& here, const ClusterId& self);

// Handover, at the source: given away to `target` under the next epoch. Recorded before the target
// is asked; from then on only the target decides. refused: not owned here.
Result<Ownership> handing_over(const Ownership& here, const ClusterId& self,
                               const ClusterId& target);

// Handover, at the target: what becomes of the replica here when `source` offers it. One that was
// taken before stays (a repeated request). refused: another owner, or a later decision is known.
Result<Ownership> taken_over(const Ownership& here, const Ownership& offered, const ClusterId& self,
                             const ClusterId& source);

// Handover, at the target: it will never be taken. The epoch after the offered one goes back to the
// source, so that the offer, should it come late, finds itself outdated. One that was taken already
// stays as it is, and so does the record of an owner that prevails over the source anyway.
Ownership declined(const Ownership& here, const Ownership& offered, const ClusterId& source);

// Handover, at the source: what the word of `target` makes of it: a replica once it was taken, ours
// again once it was declined. superseded, as if it had never been offered, when the target knows an
// owner that prevails over what was ours before: records only ever rise, so that this target can
// take the offer no more. Nothing: the target has not decided.
std::optional<Ownership> after_answer(const Ownership& here, const Ownership& there,
                                      const ClusterId& self, const ClusterId& target);

// Resolve: the superseded line here is given up for the owner's, or goes on under the next epoch;
// so does one that was given away to a cluster which is lost. refused: there is nothing to resolve.
Result<Ownership> kept_there(const Ownership& here);
Result<Ownership> kept_here(const Ownership& here, const ClusterId& self);

// Whether a record may change from one to the other: some rule of the table above says so.
bool is_transition(const Ownership& from, const Ownership& to, const ClusterId& self);

// What this cluster's record becomes on hearing a peer's; nothing: it stays. The higher epoch
// wins; under one epoch with two owners, the higher cluster id wins, so that both sides decide
// alike and at most one goes on.
std::optional<Ownership> after_hearing(const Ownership& here, const Ownership& there,
                                       const ClusterId& self);

// Whether this cluster may start the VM now; the refusal says whose it is and what to do.
Result<> may_start(const Ownership& here, const ClusterId& self, const std::string& vm_name,
                   const std::string& owner_name);

// Whether this cluster takes a snapshot of this VM from `source`: it must own the VM by what both
// sides know. refused otherwise, with the reason.
Result<> may_receive(const std::optional<Ownership>& here, const Ownership& offered,
                     const ClusterId& self, const ClusterId& source, const std::string& vm_name);

// What becomes of a VM when a snapshot of it is taken in from a file that says whose it was. One
// that is known here stays as it is: a file changes no owner. refused: it would be ours without a
// record here, or it is being handed over.
Result<Ownership> after_import(const std::optional<Ownership>& here, const Ownership& in_file,
                               const ClusterId& self, const std::string& vm_name);

}  // namespace understudy::engine
