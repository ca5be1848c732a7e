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
