#include "tasks/ownership_news.hpp"

#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

namespace understudy::tasks {
namespace {

Result<> pause_superseded(Site& site, const model::Vm& vm, const std::string& owner) {
    auto presence = presence_of(site, vm.id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence != Presence::running) return {};
    spdlog::error("VM '{}' runs here, but '{}' owns it now: it is paused, its writes are kept",
                  vm.name, owner);
    return site.hypervisor.pause(vm.id);
}

// The peers that snapshots of the VM were sent to from here, or may have been: a peer that has one
// says so only in the end, and that reply can be lost.
Result<std::set<ClusterId>> peers_sent_to(Site& site, const VmId& vm) {
    std::set<ClusterId> peers;
    auto sent = site.catalog.replications(vm);
    if (!sent) return std::unexpected(std::move(sent.error()));
    for (const auto& replication : *sent) peers.insert(replication.peer);
    auto tasks = site.catalog.tasks({vm});
    if (!tasks) return std::unexpected(std::move(tasks.error()));
    for (const auto& task : *tasks) {
        if (task.kind != "send") continue;
        const auto arguments = nlohmann::json::parse(task.arguments, nullptr, false);
        if (arguments.is_object()) peers.insert(id_in<ClusterId>(arguments, "peer"));
    }
    return peers;
}

}  // namespace

Result<bool> shared_with(Site& site, const model::Vm& vm, const ClusterId& peer) {
    if (vm.ownership.owner == peer) return true;
    auto sent = peers_sent_to(site, vm.id);
    if (!sent) return std::unexpected(std::move(sent.error()));
    if (sent->contains(peer)) return true;
    // A replica that came from the peer and was promoted here: it holds the common base.
    auto holds = site.catalog.holds(vm.id);
    if (!holds) return std::unexpected(std::move(holds.error()));
    return std::any_of(holds->begin(), holds->end(), [&](const model::Hold& hold) {
        return hold.kind == model::HoldKind::base && hold.detail == peer.text();
    });
}

Result<std::vector<ports::OwnershipNote>> ownership_notes_for(Site& site, const ClusterId& peer) {
    auto vms = site.catalog.vms();
    if (!vms) return std::unexpected(std::move(vms.error()));
    std::vector<ports::OwnershipNote> notes;
    for (const auto& vm : *vms) {
        auto shared = shared_with(site, vm, peer);
        if (!shared) return std::unexpected(std::move(shared.error()));
        if (*shared) notes.push_back({vm.id, vm.ownership});
    }
    return notes;
}

Result<> hear_ownership(Site& site, const ClusterId& peer,
                        const std::vector<ports::OwnershipNote>& notes) {
    for (const auto& note : notes) {
        if (note.ownership.owner != peer || note.ownership.phase != model::Phase::owned) continue;
        auto vm = site.catalog.find_vm(note.vm);
        if (!vm) return std::unexpected(std::move(vm.error()));
        if (!*vm) continue;
        auto shared = shared_with(site, **vm, peer);
        if (!shared) return std::unexpected(std::move(shared.error()));
        if (!*shared) continue;
        const auto owner = cluster_name(site, peer);
        auto next = engine::after_hearing((*vm)->ownership, note.ownership, site.cluster.id);
        if (next) {
            UNDERSTUDY_TRY(site.catalog.set_ownership(note.vm, (*vm)->ownership, *next));
            spdlog::warn("VM '{}': '{}' owns it at epoch {}; here it is {}", (*vm)->name, owner,
                         next->epoch, model::to_string(next->phase));
        }
        const auto& now = next ? *next : (*vm)->ownership;
        if (now.phase == model::Phase::superseded)
            UNDERSTUDY_TRY(pause_superseded(site, **vm, owner));
    }
    return {};
}

Result<> contact_peer(Site& site, const ClusterId& peer, const model::Capabilities& ours) {
    auto link = site.peers.to(peer);
    if (!link) return std::unexpected(std::move(link.error()));
    auto theirs = (*link)->exchange_capabilities(ours);
    if (!theirs) return std::unexpected(std::move(theirs.error()));
    auto notes = ownership_notes_for(site, peer);
    if (!notes) return std::unexpected(std::move(notes.error()));
    auto heard = (*link)->exchange_ownership(*notes);
    if (!heard) return std::unexpected(std::move(heard.error()));
    UNDERSTUDY_TRY(hear_ownership(site, peer, *heard));
    return site.catalog.touch_peer(peer, site.clock.now(), *theirs);
}

namespace {

Result<> check_idle(Site& site, const VmId& id) {
    auto active = site.catalog.tasks({id, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active) {
        if (!task.started || task.kind == kSend || task.reads_only) continue;
        const auto word = task.id.text().substr(0, 8);
        const bool runs = task.state == model::TaskState::running;
        return fail(
            Error(ErrorKind::conflict,
                  fmt::format("'{}' {}", task.title, runs ? "is running" : "waits to be completed"))
                .advising(fmt::format("Wait for it: `understudy task watch {}`.", word)));
    }
    return {};
}

}  // namespace

Result<> check_start(Site& site, const VmId& id) {
    UNDERSTUDY_TRY(check_idle(site, id));
    auto known = site.catalog.find_vm(id);
    if (!known) return std::unexpected(std::move(known.error()));
    if (!*known) return {};
    auto sent = peers_sent_to(site, id);
    if (!sent) return std::unexpected(std::move(sent.error()));
    for (const auto& peer : *sent) {
        auto link = site.peers.to(peer);
        if (!link) continue;
        auto there = (*link)->look_up(id);
        if (there && there->known)
            UNDERSTUDY_TRY(hear_ownership(site, peer, {{id, there->ownership}}));
    }
    auto now = site.catalog.vm(id);
    if (!now) return std::unexpected(std::move(now.error()));
    return engine::may_start(now->ownership, site.cluster.id, now->name,
                             cluster_name(site, now->ownership.owner));
}

}  // namespace understudy::tasks
