#include "tasks/replicas/send_parts.hpp"

#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "protocol/features.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/replicas/resync.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>

// The parts of a send: planning, estimates, and opening its disks for the mover. plan_send_here
// asks the peer what it has, takes in what the peer says of the owner, checks what cannot travel,
// and chooses by lineage; preview_send does the same and changes nothing. Only that news of the
// owner (ownership_news.cpp) and record_replication write anything. A crash leaves nothing of the
// send here; the step that asked is run again.

namespace understudy::tasks {
namespace {

struct AskedPeer {
    model::Peer peer;
    std::shared_ptr<ports::PeerLink> link;
};

Result<AskedPeer> find_peer(Site& site, const ClusterId& id) {
    auto peer = UNDERSTUDY_VALUE(site.catalog.peer(id));
    UNDERSTUDY_TRY(protocol::check_can_receive(peer.capabilities));
    auto link = UNDERSTUDY_VALUE(site.peers.to(id));
    return AskedPeer{std::move(peer), std::move(link)};
}

// What the peer has of the VM. Each side learns what the other says of the owner.
Result<ports::PeerVm> ask_and_refresh_owner(Site& site, const AskedPeer& at,
                                            const SendCase& asked) {
    auto there = at.link->look_up(asked.vm);
    if (!there || !there->known) return there;
    UNDERSTUDY_TRY(apply_peer_ownership(site, asked.peer, {{asked.vm, there->ownership}}));
    if (there->ownership.owner == site.cluster.id) return there;
    // The peer tells what it has only to the cluster that it knows as the owner, and it may have
    // learned just now who that is.
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(asked.vm));
    auto reply = UNDERSTUDY_VALUE(at.link->exchange_ownership({{vm.id, vm.ownership}}));
    return at.link->look_up(asked.vm);
}

struct Preview {
    ports::PeerVm there;
    model::Vm vm;  // the record that this cluster would have after the peer's answer
};

// The same question, but nothing changes on either side.
Result<Preview> ask_only(Site& site, const AskedPeer& at, const VmId& id) {
    auto there = UNDERSTUDY_VALUE(at.link->look_up(id));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
    if (!there.known) return Preview{std::move(there), std::move(vm)};
    vm.ownership = UNDERSTUDY_VALUE(ownership_after(site, vm, at.peer.id, there.ownership));
    if (there.ownership.owner != site.cluster.id && vm.ownership.owner == site.cluster.id)
        return fail(Error(ErrorKind::refused,
                          fmt::format("'{}' does not know yet that '{}' owns '{}', so it does not "
                                      "say what it has of this VM",
                                      at.peer.name, site.cluster.name, vm.name))
                        .advising("Run it without --dry-run: it tells the peer first."));
    return Preview{std::move(there), std::move(vm)};
}

Result<std::vector<model::ReadinessIssue>> obstacles_of(Site& site, const VmId& vm) {
    auto described = site.hypervisor.describe(vm);
    if (described) return std::move(described->obstacles);
    if (described.error().kind() == ErrorKind::not_found)
        return std::vector<model::ReadinessIssue>{};
    return error_of(described);
}

Result<std::optional<model::Snapshot>> base_of(Site& site, const model::TransferRequest& request) {
    if (!request.base) return std::nullopt;
    auto found = UNDERSTUDY_VALUE(site.catalog.snapshot(*request.base));
    return found;
}

struct Changed {
    ByteSize data;
    ByteSize zero;
};

Result<Changed> changed_on(Site& site, const model::SnapshotDisk& disk,
                           const std::optional<model::Snapshot>& base, const SnapshotId& until,
                           ByteOffset from) {
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    auto changes = pool->changes(disk.volume, engine::base_of_disk(base, disk.volume), until, from);
    if (!changes) return fail(std::move(changes.error()).during(disk.target));
    Changed sum;
    while (true) {
        auto extent = (*changes)->next();
        if (!extent) return fail(std::move(extent.error()).during(disk.target));
        if (!*extent) return sum;
        ((*extent)->kind == model::ExtentKind::data ? sum.data : sum.zero) += (*extent)->length;
    }
}

Result<std::vector<model::VolumeBase>> contents_at(const AskedPeer& at,
                                                   const model::Snapshot& snapshot) {
    std::vector<VolumeId> volumes;
    for (const auto& disk : snapshot.disks) volumes.push_back(disk.volume);
    auto contents = at.link->contents(snapshot.vm, volumes);
    if (!contents)
        return fail(std::move(contents.error()).during("ask what the peer has of its disks"));
    // The peer may have this very snapshot in its storage without listing it. It cannot be its own
    // base. Volumes that were not asked for are left out, too.
    std::erase_if(*contents, [&](const model::VolumeBase& base) {
        return base.snapshot == snapshot.id ||
               std::ranges::find(volumes, base.volume) == volumes.end();
    });
    return contents;
}

struct LimitLook {
    std::mutex mutex;
    Duration looked{-10'000};
    std::uint64_t limit = 0;
};

Result<PlannedSend> choose_send(Site& site, const AskedPeer& peer, const ports::PeerVm& there,
                                const model::Vm& vm, const SendCase& asked) {
    UNDERSTUDY_TRY(engine::may_start(vm.ownership, site.cluster.id, vm.name,
                                     cluster_name(site, vm.ownership.owner)));
    PlannedSend planned;
    auto issues = UNDERSTUDY_VALUE(obstacles_of(site, asked.vm));
    planned.issues = std::move(issues);
    UNDERSTUDY_TRY(engine::check_obstacles(planned.issues, asked.accept));
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(asked.vm));
    auto snapshot = UNDERSTUDY_VALUE(engine::find_snapshot(snapshots, asked.snapshot.text()));
    planned.snapshot = std::move(snapshot);
    engine::SendQuestion question{snapshots, planned.snapshot, there.snapshots, asked.full, {}};
    if (!asked.base.is_nil()) question.base = asked.base;
    if (engine::asks_for_contents(question) &&
        protocol::check_can_compare(peer.peer.capabilities)) {
        auto contents = UNDERSTUDY_VALUE(contents_at(peer, planned.snapshot));
        question.contents = std::move(contents);
    }
    planned.at_peer = there.snapshots;
    auto plan = UNDERSTUDY_VALUE(engine::plan_send(question));
    planned.plan = std::move(plan);
    for (auto& candidate : snapshots)
        if (candidate.id == planned.plan.base) planned.base = std::move(candidate);
    return planned;
}

}  // namespace

Result<PlannedSend> plan_send_here(Site& site, const SendCase& asked) {
    auto peer = UNDERSTUDY_VALUE(find_peer(site, asked.peer));
    auto there = UNDERSTUDY_VALUE(ask_and_refresh_owner(site, peer, asked));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(asked.vm));
    return choose_send(site, peer, there, vm, asked);
}

Result<PlannedSend> preview_send(Site& site, const SendCase& asked) {
    auto peer = UNDERSTUDY_VALUE(find_peer(site, asked.peer));
    const auto answer = UNDERSTUDY_VALUE(ask_only(site, peer, asked.vm));
    return choose_send(site, peer, answer.there, answer.vm, asked);
}

Result<SendParts> open_send(Site& site, const model::TransferRequest& request,
                            const Resynced& resynced, std::function<bool()> cancelled) {
    auto base = UNDERSTUDY_VALUE(base_of(site, request));
    SendParts parts;
    bool all_whole = true;
    for (const auto& disk : request.snapshot.disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return error_of(pool);
        auto reader = (*pool)->open_snapshot(disk.volume, request.snapshot.id);
        if (!reader) return fail(std::move(reader.error()).during("open " + disk.target));
        if (is_compared(request, disk.volume)) {
            all_whole = false;
            const auto& found = resynced.disks.at(parts.disks.size());
            parts.disks.push_back({std::move(*reader), [found](ByteOffset from) {
                                       return listed_extents(found, from);
                                   }});
            continue;
        }
        const auto since = engine::base_of_disk(base, disk.volume);
        all_whole = all_whole && !since;
        parts.disks.push_back({std::move(*reader), [pool = *pool, disk, since,
                                                    id = request.snapshot.id](ByteOffset from) {
                                   return pool->changes(disk.volume, since, id, from);
                               }});
    }
    parts.options.chunking = {all_whole, all_whole};
    parts.options.cancelled = std::move(cancelled);
    return parts;
}

Result<ByteSize> allocated_data(Site& site, const model::SnapshotDisk& disk,
                                const SnapshotId& snapshot, ByteOffset from) {
    auto changed = UNDERSTUDY_VALUE(changed_on(site, disk, {}, snapshot, from));
    return changed.data;
}

Result<std::vector<DiskEstimate>> estimate_send(Site& site, const PlannedSend& planned,
                                                const ClusterId& peer) {
    std::vector<DiskEstimate> estimates;
    if (planned.plan.kind == engine::SendKind::nothing) return estimates;
    if (planned.plan.kind == engine::SendKind::resync) return estimate_resync(site, planned, peer);
    for (const auto& disk : planned.snapshot.disks) {
        auto changed = UNDERSTUDY_VALUE(
            changed_on(site, disk, planned.base, planned.snapshot.id, ByteOffset(0)));
        estimates.push_back({disk.target, disk.size, changed.data, changed.zero});
    }
    return estimates;
}

Result<ByteSize> data_after(Site& site, const model::TransferRequest& request,
                            const model::DurablePoint& point) {
    auto base = UNDERSTUDY_VALUE(base_of(site, request));
    ByteSize data;
    const auto& disks = request.snapshot.disks;
    for (std::size_t i = point.disk; i < disks.size(); ++i) {
        if (is_compared(request, disks[i].volume)) continue;
        const auto from = i == point.disk ? point.offset : ByteOffset(0);
        auto changed =
            UNDERSTUDY_VALUE(changed_on(site, disks[i], base, request.snapshot.id, from));
        data += changed.data;
    }
    return data;
}

std::function<std::uint64_t()> rate_limit_of(Site& site, const ClusterId& peer,
                                             std::uint64_t own_limit_bytes) {
    auto look = std::make_shared<LimitLook>();
    return [&site, peer, own_limit_bytes, look] {
        const std::lock_guard lock(look->mutex);
        const auto now = site.clock.monotonic();
        if (now - look->looked >= Duration(1000)) {
            look->looked = now;
            auto record = site.catalog.peer(peer);
            if (record) look->limit = record->rate_limit.count();
        }
        if (look->limit == 0) return own_limit_bytes;
        return own_limit_bytes == 0 ? look->limit : std::min(own_limit_bytes, look->limit);
    };
}

Result<> record_replication(Site& site, const model::Replication& done) {
    auto known = UNDERSTUDY_VALUE(site.catalog.replications(done.vm));
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(done.vm));
    for (const auto& before : known)
        if (before.peer == done.peer && engine::is_newer(snapshots, before.snapshot, done.snapshot))
            return {};
    return site.catalog.save_replication(done);
}

}  // namespace understudy::tasks
