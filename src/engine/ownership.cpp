#include "engine/ownership.hpp"

#include "base/shell_word.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <tuple>

// The rules of who may run a VM: one function for each change of an Ownership, and is_transition,
// the table of all changes. Pure: no I/O, no clock; callers make the result durable
// (tasks/owners/roles). An epoch falls only when an offer counts as never made (handing_over to
// superseded). Two owners under one epoch are decided by the higher cluster id, so both sides
// decide alike. tests/sim/mutations.py breaks these rules; the simulation must notice each time.

namespace understudy::engine {

using model::Phase;

namespace {

// Whether the first of two owners of one VM counts: it has the higher epoch or, under the same
// epoch, the higher cluster id.
bool prevails(const Ownership& one, const Ownership& other) {
    return std::tie(one.epoch, one.owner) > std::tie(other.epoch, other.owner);
}

}  // namespace

Ownership adopted_by(const ClusterId& self) {
    return Ownership{1, self, Phase::owned};
}

Ownership replica_of(const Ownership& at_source) {
    return Ownership{at_source.epoch, at_source.owner, Phase::replica};
}

Result<Ownership> promoted(const Ownership& here, const ClusterId& self) {
    switch (here.phase) {
        case Phase::replica: return Ownership{here.epoch + 1, self, Phase::owned};
        case Phase::owned:
            return fail(Error(ErrorKind::refused, "this cluster owns the VM already")
                            .advising("Start it with `understudy vm start`."));
        case Phase::superseded:
            return fail(
                Error(ErrorKind::refused, "the VM is superseded here: another cluster owns it")
                    .advising("Say which line continues: `understudy replica resolve`."));
        case Phase::handing_over:
            return fail(Error(ErrorKind::refused, "the VM is being handed over to a peer")
                            .advising("Only the target of the handover can start it now."));
    }
    base::broken_invariant("a phase outside its enumeration", __FILE__, __LINE__);
}

Result<Ownership> handing_over(const Ownership& here, const ClusterId& self,
                               const ClusterId& target) {
    if (here.phase == Phase::owned && here.owner == self && target != self)
        return Ownership{here.epoch + 1, target, Phase::handing_over};
    return fail(ErrorKind::refused, "only the VM's owner can hand it over, to another cluster");
}

Result<Ownership> taken_over(const Ownership& here, const Ownership& offered, const ClusterId& self,
                             const ClusterId& source) {
    if (here.phase == Phase::owned && here.owner == self && here.epoch == offered.epoch)
        return here;
    if (here.phase == Phase::replica && here.owner == source && here.epoch < offered.epoch)
        return Ownership{offered.epoch, self, Phase::owned};
    return fail(Error(ErrorKind::refused,
                      fmt::format("the VM is {} at epoch {} here; it is not a replica of the "
                                  "cluster that hands it over at epoch {}",
                                  model::to_string(here.phase), here.epoch, offered.epoch)));
}

Ownership declined(const Ownership& here, const Ownership& offered, const ClusterId& source) {
    const bool undecided = here.phase == Phase::replica || here.phase == Phase::superseded;
    if (!undecided || here.epoch > offered.epoch) return here;
    if (here.owner != source && prevails(here, {offered.epoch - 1, source, Phase::owned}))
        return here;
    return Ownership{offered.epoch + 1, source, here.phase};
}

std::optional<Ownership> after_answer(const Ownership& here, const Ownership& there,
                                      const ClusterId& self, const ClusterId& target) {
    if (here.phase != Phase::handing_over) return std::nullopt;
    if (there.epoch < here.epoch) {
        const bool is_final = here.owner == target && there.phase != Phase::handing_over &&
                              there.owner != self &&
                              prevails(there, {here.epoch - 1, self, Phase::owned});
        if (!is_final) return std::nullopt;
        return Ownership{there.epoch, there.owner, Phase::superseded};
    }
    if (there.owner != self) return Ownership{there.epoch, there.owner, Phase::replica};
    if (there.epoch == here.epoch) return std::nullopt;
    if (there.phase == Phase::replica || there.phase == Phase::superseded)
        return Ownership{there.epoch, self, Phase::owned};
    // The target has taken the VM and hands it back already. That handover must find a replica
    // here.
    return Ownership{here.epoch, here.owner, Phase::replica};
}

Result<Ownership> kept_there(const Ownership& here) {
    if (here.phase == Phase::superseded) return Ownership{here.epoch, here.owner, Phase::replica};
    return fail(ErrorKind::refused, "the VM is not superseded here: there is nothing to resolve");
}

Result<Ownership> kept_here(const Ownership& here, const ClusterId& self) {
    if (here.phase == Phase::superseded || here.phase == Phase::handing_over)
        return Ownership{here.epoch + 1, self, Phase::owned};
    return fail(ErrorKind::refused, "the VM is not superseded here: there is nothing to resolve");
}

bool is_transition(const Ownership& from, const Ownership& to, const ClusterId& self) {
    struct Rule {
        Phase from;
        Phase to;
        bool raises_epoch;
        bool is_ours_then;
    };
    static constexpr Rule kRules[] = {
        // from, to, raises_epoch, is_ours_then
        {Phase::replica, Phase::owned, true, true},                // promote, take over
        {Phase::owned, Phase::handing_over, true, false},          // hand over
        {Phase::handing_over, Phase::replica, false, false},       // handed over
        {Phase::handing_over, Phase::owned, true, true},           // declined, or resolve
        {Phase::replica, Phase::replica, false, false},            // declines, hears of a new owner
        {Phase::handing_over, Phase::handing_over, false, false},  // hears of a newer owner
        {Phase::handing_over, Phase::superseded, false, false},    // the target knows another owner
        {Phase::owned, Phase::owned, true, true},                  // hears of its own later epoch
        {Phase::owned, Phase::superseded, false, false},           // hears of an owner
        {Phase::superseded, Phase::superseded, false, false},      // hears of another owner
        {Phase::superseded, Phase::replica, false, false},         // resolve: theirs is kept
        {Phase::superseded, Phase::owned, true, true},             // resolve: ours is kept
    };
    // If an offer can no longer be taken, it counts as never made, so the epoch may fall.
    const bool is_back = from.phase == Phase::handing_over && to.phase == Phase::superseded;
    if (to.epoch < from.epoch && !is_back) return false;
    for (const auto& rule : kRules)
        if (rule.from == from.phase && rule.to == to.phase &&
            (!rule.raises_epoch || to.epoch > from.epoch) &&
            rule.is_ours_then == (to.owner == self))
            return true;
    return false;
}

std::optional<Ownership> after_hearing(const Ownership& here, const Ownership& there,
                                       const ClusterId& self) {
    if (!prevails(there, here)) return std::nullopt;
    if (there.owner == self) {
        // A peer remembers an ownership of ours that we no longer know (a catalog restored from
        // an old backup). That does not allow us to run the VM: keep owner and phase, and take the
        // epoch, so that the next promote goes above it.
        return Ownership{there.epoch, here.owner, here.phase};
    }
    // The move that gave the VM away has still to finish here, by after_answer.
    if (here.phase == Phase::handing_over)
        return Ownership{there.epoch, there.owner, Phase::handing_over};
    const bool was_ours = here.owner == self || here.phase == Phase::superseded;
    return Ownership{there.epoch, there.owner, was_ours ? Phase::superseded : Phase::replica};
}

Result<> may_start(const Ownership& here, const ClusterId& self, const std::string& vm_name,
                   const std::string& owner_name) {
    if (here.phase == Phase::owned && here.owner == self) return {};
    switch (here.phase) {
        case Phase::superseded:
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("VM '{}' is superseded: '{}' owns it at epoch {}", vm_name,
                                  owner_name, here.epoch))
                    .keeping("its disks here, as they were")
                    .advising(fmt::format("It must not run here. Use it on '{}'.", owner_name)));
        case Phase::handing_over:
            return fail(Error(ErrorKind::refused,
                              fmt::format("VM '{}' is being handed over to '{}' at epoch {}",
                                          vm_name, owner_name, here.epoch))
                            .advising("Only that cluster can start it now."));
        default:
            return fail(Error(ErrorKind::refused,
                              fmt::format("VM '{}' is a replica here: '{}' owns it at epoch {}",
                                          vm_name, owner_name, here.epoch))
                            .advising(fmt::format("If '{0}' is lost, take it over with "
                                                  "`understudy replica promote {1}`.",
                                                  owner_name, base::shell_word(vm_name))));
    }
}

Result<> may_receive(const std::optional<Ownership>& here, const Ownership& offered,
                     const ClusterId& self, const ClusterId& source, const std::string& vm_name) {
    if (offered.owner != source || offered.phase != Phase::owned)
        return fail(
            Error(ErrorKind::refused, fmt::format("the sender does not own VM '{}'", vm_name))
                .advising("Send it from the cluster that owns it."));
    if (!here) return {};
    if (here->epoch > offered.epoch)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' has epoch {} here, and epoch {} at the sender",
                                      vm_name, here->epoch, offered.epoch))
                        .advising("The sender is superseded; send from the new owner."));
    if (here->epoch == offered.epoch && here->owner != source)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' has another owner here at the same epoch {}",
                                      vm_name, here->epoch)));
    if (here->owner == self && here->phase == Phase::owned && here->epoch == offered.epoch)
        return fail(ErrorKind::refused, fmt::format("VM '{}' is owned here", vm_name));
    return {};
}

Result<Ownership> after_import(const std::optional<Ownership>& here, const Ownership& in_file,
                               const ClusterId& self, const std::string& vm_name) {
    if (here && here->phase == Phase::handing_over)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' is being handed over to a peer", vm_name))
                        .advising("Import again when that is done."));
    if (here) return *here;
    if (in_file.owner == self)
        return fail(
            Error(ErrorKind::refused, fmt::format("by the file this cluster owned VM '{}', but "
                                                  "this cluster does not know the VM any more",
                                                  vm_name))
                .advising("Import it as another VM: --as-new-vm NAME."));
    return replica_of(in_file);
}

}  // namespace understudy::engine
