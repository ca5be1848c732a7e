#include "tasks/owners/ownership_news.hpp"

#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/disks/incoming.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/owners/branch.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/queue/turns.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

// What peers say of who owns a VM, what they are told, and the question to them before a start.
// When a peer claims a VM, the new owner is recorded first; then the VM is paused if it runs here;
// then the task is queued that keeps what it wrote. A crash in between leaves the record, and the
// peer repeats its claim at the next exchange: whatever is still missing is done then.

namespace understudy::tasks {
namespace {

// A peer is believed only where it claims a VM for itself.
bool claims_it(const model::Ownership& claim, const ClusterId& peer) {
    return claim.owner == peer && claim.phase == model::Phase::owned;
}

Result<> pause_superseded(Site& site, const model::Vm& vm, const std::string& owner) {
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm.id));
    if (presence != Presence::running) return {};
    spdlog::error("VM '{}' runs here, but '{}' owns it now. It is paused, and its writes are kept",
                  vm.name, owner);
    return site.hypervisor.pause(vm.id);
}

// The peers that snapshots of the VM were sent to from here, or may have been: a peer that has one
// says so only in the end, and that reply can be lost.
Result<std::set<ClusterId>> peers_sent_to(Site& site, const VmId& vm) {
    std::set<ClusterId> peers;
    auto sent = UNDERSTUDY_VALUE(site.catalog.replications(vm));
    for (const auto& replication : sent) peers.insert(replication.peer);
    const auto asked = UNDERSTUDY_VALUE(peers_of_sends(site, vm));
    peers.insert(asked.begin(), asked.end());
    return peers;
}

}  // namespace

Result<std::set<ClusterId>> sharers_of(Site& site, const model::Vm& vm) {
    auto sharers = peers_sent_to(site, vm.id);
    if (!sharers) return error_of(sharers);
    sharers->insert(vm.ownership.owner);
    // A replica that came from a peer and was promoted here: it holds the common base.
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(vm.id));
    for (const auto& hold : holds)
        if (hold.kind == model::HoldKind::base)
            if (const auto peer = ClusterId::parse(hold.detail)) sharers->insert(*peer);
    auto holders = UNDERSTUDY_VALUE(site.catalog.holders(vm.id));
    sharers->insert(holders.begin(), holders.end());
    sharers->erase(site.cluster.id);
    sharers->erase(ClusterId());
    return sharers;
}

Result<bool> shared_with(Site& site, const model::Vm& vm, const ClusterId& peer) {
    auto sharers = UNDERSTUDY_VALUE(sharers_of(site, vm));
    return sharers.contains(peer);
}

Result<std::vector<ClusterId>> holders_beside(Site& site, const model::Vm& vm,
                                              const ClusterId& peer) {
    auto sharers = UNDERSTUDY_VALUE(sharers_of(site, vm));
    sharers.erase(peer);
    return std::vector<ClusterId>(sharers.begin(), sharers.end());
}

Result<> record_holders(Site& site, const VmId& vm, const std::vector<ClusterId>& named) {
    std::vector<ClusterId> known;
    auto peers = UNDERSTUDY_VALUE(site.catalog.peers());
    for (const auto& peer : peers)
        if (std::ranges::find(named, peer.id) != named.end()) known.push_back(peer.id);
    auto noted = UNDERSTUDY_VALUE(site.catalog.holders(vm));
    std::erase_if(known, [&](const auto& peer) { return std::ranges::count(noted, peer) > 0; });
    if (known.empty()) return {};
    return site.catalog.record_holders(vm, known);
}

Result<std::vector<ports::OwnershipNote>> ownership_notes_for(Site& site, const ClusterId& peer) {
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    std::vector<ports::OwnershipNote> notes;
    for (const auto& vm : vms) {
        auto sharers = UNDERSTUDY_VALUE(sharers_of(site, vm));
        if (sharers.erase(peer) == 0) continue;
        notes.push_back({vm.id, vm.ownership, {sharers.begin(), sharers.end()}});
    }
    return notes;
}

namespace {

// Applies what a peer said of one VM, and gives the record after it. Nothing: the VM is none of the
// peer's business, or the peer does not claim it.
Result<std::optional<model::Vm>> apply_ownership_claim(Site& site, const ClusterId& peer,
                                                       const ports::OwnershipNote& note) {
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(note.vm));
    if (!vm) return std::nullopt;
    auto shared = UNDERSTUDY_VALUE(shared_with(site, *vm, peer));
    if (!shared) return std::nullopt;
    UNDERSTUDY_TRY(record_holders(site, note.vm, note.holders));
    if (!claims_it(note.ownership, peer)) return std::nullopt;
    if (const auto next = engine::after_hearing(vm->ownership, note.ownership, site.cluster.id)) {
        UNDERSTUDY_TRY(run_between_points(site.settings.at_point, note.vm, "hear.record", [&] {
            return change_role(site, *vm, *next, "peer " + cluster_name(site, peer));
        }));
        vm->ownership = *next;
    }
    return vm;
}

// A peer that says that another cluster owns the VM will not send the rest of an unfinished
// transfer of it. What was received of it is given up.
Result<> end_outdated(Site& site, const ClusterId& peer,
                      const std::vector<ports::OwnershipNote>& notes) {
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    for (const auto& transfer : transfers) {
        if (transfer.source != peer) continue;
        const bool outdated = std::ranges::any_of(notes, [&](const auto& note) {
            return note.vm == transfer.request.vm && note.ownership.owner != peer &&
                   note.ownership.epoch >= transfer.request.ownership.epoch;
        });
        if (outdated) UNDERSTUDY_TRY(end_receiving(site, transfer.request.vm));
    }
    return {};
}

}  // namespace

Result<> apply_peer_ownership(Site& site, const ClusterId& peer,
                              const std::vector<ports::OwnershipNote>& notes) {
    UNDERSTUDY_TRY(end_outdated(site, peer, notes));
    return apply_peer_claims(site, peer, notes);
}

Result<> apply_peer_claims(Site& site, const ClusterId& peer,
                           const std::vector<ports::OwnershipNote>& notes) {
    for (const auto& note : notes) {
        auto vm = UNDERSTUDY_VALUE(apply_ownership_claim(site, peer, note));
        if (!vm || vm->ownership.phase != model::Phase::superseded) continue;
        const auto& hook = site.settings.at_point;
        UNDERSTUDY_TRY(run_between_points(hook, note.vm, "hear.pause", [&] {
            return pause_superseded(site, *vm, cluster_name(site, peer));
        }));
        UNDERSTUDY_TRY(run_between_points(hook, note.vm, "hear.keep_branch", [&] {
            return see_branch_kept(site, *vm, vm->ownership);
        }));
    }
    return {};
}

Result<> contact_peer(Site& site, const ClusterId& peer, const model::Capabilities& ours) {
    auto link = UNDERSTUDY_VALUE(site.peers.to(peer));
    auto theirs = UNDERSTUDY_VALUE(link->exchange_capabilities(ours));
    auto notes = UNDERSTUDY_VALUE(ownership_notes_for(site, peer));
    auto reply = UNDERSTUDY_VALUE(link->exchange_ownership(notes));
    UNDERSTUDY_TRY(apply_peer_ownership(site, peer, reply));
    return site.catalog.touch_peer(peer, site.clock.now(), theirs);
}

namespace {

Result<> check_idle(Site& site, const VmId& id) {
    const auto other = UNDERSTUDY_VALUE(find_in_the_way(site, id, Asker::start, std::nullopt));
    if (!other) return {};
    const bool runs = other->task.state == model::TaskState::running;
    return fail(
        Error(ErrorKind::conflict, fmt::format("'{}' {}", other->task.title,
                                               runs ? "is running" : "waits to be completed"))
            .advising(fmt::format("Wait for it: `understudy task watch {}`.",
                                  other->task.id.text().substr(0, 8))));
}

}  // namespace

Result<model::Ownership> ownership_after(Site& site, const model::Vm& vm, const ClusterId& peer,
                                         const model::Ownership& claim) {
    auto shared = UNDERSTUDY_VALUE(shared_with(site, vm, peer));
    if (!shared || !claims_it(claim, peer)) return vm.ownership;
    return engine::after_hearing(vm.ownership, claim, site.cluster.id).value_or(vm.ownership);
}

namespace {

// Calls `take_in` with the answer of each peer that shares the VM. A peer that does not answer, or
// does not know the VM, is left out.
Result<> ask_sharers(
    Site& site, const model::Vm& vm,
    const std::function<Result<>(const ClusterId&, const model::Ownership&)>& take_in) {
    auto sharers = UNDERSTUDY_VALUE(sharers_of(site, vm));
    for (const auto& peer : sharers) {
        auto link = site.peers.to(peer);
        if (!link) continue;
        auto there = (*link)->look_up(vm.id);
        if (!there || !there->known) continue;
        UNDERSTUDY_TRY(take_in(peer, there->ownership));
    }
    return {};
}

Result<> may_start(Site& site, const model::Vm& vm) {
    return engine::may_start(vm.ownership, site.cluster.id, vm.name,
                             cluster_name(site, vm.ownership.owner));
}

}  // namespace

Result<> check_may_start(Site& site, const VmId& id) {
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!known) return {};
    std::vector<std::pair<ClusterId, model::Ownership>> claims;
    UNDERSTUDY_TRY(ask_sharers(site, *known, [&](const ClusterId& peer, const auto& claim) {
        claims.emplace_back(peer, claim);
        return Result<>{};
    }));
    // The record may have changed while the peers were asked.
    auto now = UNDERSTUDY_VALUE(site.catalog.vm(id));
    for (const auto& [peer, claim] : claims)
        now.ownership = UNDERSTUDY_VALUE(ownership_after(site, now, peer, claim));
    return may_start(site, now);
}

Result<> refresh_owner_then_check(Site& site, const VmId& id) {
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!known) return {};
    const auto record = [&](const ClusterId& peer, const model::Ownership& claim) -> Result<> {
        auto noted = UNDERSTUDY_VALUE(apply_ownership_claim(site, peer, {id, claim}));
        return {};
    };
    UNDERSTUDY_TRY(ask_sharers(site, *known, record));
    auto now = UNDERSTUDY_VALUE(site.catalog.vm(id));
    return may_start(site, now);
}

Result<> check_start(Site& site, const VmId& id) {
    UNDERSTUDY_TRY(refresh_owner_then_check(site, id));
    return check_idle(site, id);
}

}  // namespace understudy::tasks
