#include "tasks/receiving.hpp"

#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/kinds.hpp"
#include "tasks/ownership_news.hpp"
#include "tasks/proving.hpp"
#include "tasks/take_over.hpp"
#include "tasks/taken_in.hpp"
#include "tasks/tidying.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace understudy::tasks {

Result<ports::PeerVm> Receiving::look_up(const ClusterId& from, const VmId& id) {
    auto vm = site_.catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    ports::PeerVm answer;
    if (!*vm) return answer;
    auto shared = shared_with(site_, **vm, from);
    if (!shared) return std::unexpected(std::move(shared.error()));
    if (!*shared) return answer;
    answer.known = true;
    answer.ownership = (*vm)->ownership;
    if ((*vm)->ownership.owner != from) return answer;  // its snapshots are no business of theirs
    auto snapshots = site_.catalog.snapshots(id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    for (const auto& snapshot : *snapshots) answer.snapshots.push_back(snapshot.id);
    return answer;
}

Result<ports::PeerVm> Receiving::look_up_state(const ClusterId& from, const VmId& id) {
    auto answer = look_up(from, id);
    if (!answer || !answer->known || answer->ownership.owner != site_.cluster.id) return answer;
    UNDERSTUDY_TRY(tell_state(site_, id, *answer));
    return answer;
}

namespace {

// A VM that runs here without Understudy, or was released: its disks may be the very files that a
// replica of it would be made of.
Result<> check_undefined(Site& site, const model::TransferRequest& request) {
    auto presence = presence_of(site, request.vm);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence == Presence::undefined) return {};
    return fail(
        Error(ErrorKind::refused,
              fmt::format("VM '{}' is defined in libvirt on '{}', outside Understudy's care",
                          request.vm_name, site.cluster.name))
            .advising("If it is not needed there any more: `virsh undefine` it there."));
}

// The volumes that a removal is about to delete are the very ones that a send would write.
Result<> check_no_removal(Site& site, const model::TransferRequest& request) {
    auto active = site.catalog.tasks({request.vm, true, 10});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.kind == kReplicaRemove)
            return fail(ErrorKind::unavailable,
                        fmt::format("the replica of '{}' is being removed from '{}'",
                                    request.vm_name, site.cluster.name));
    return {};
}

}  // namespace

Result<model::TransferOffer> Receiving::offer(const ClusterId& from,
                                              const model::TransferRequest& request) {
    const std::lock_guard lock(offers_);
    // Who offers claims to own it, and may have become the owner since the last exchange.
    UNDERSTUDY_TRY(hear_claims(site_, from, {{request.vm, request.ownership, request.holders}}));
    auto vm = site_.catalog.find_vm(request.vm);
    if (!vm) return std::unexpected(std::move(vm.error()));
    std::optional<model::Ownership> here;
    if (*vm) here = (*vm)->ownership;
    UNDERSTUDY_TRY(
        engine::may_receive(here, request.ownership, site_.cluster.id, from, request.vm_name));
    UNDERSTUDY_TRY(check_rights(from, *vm, request));
    if (!*vm) UNDERSTUDY_TRY(check_undefined(site_, request));
    UNDERSTUDY_TRY(check_no_removal(site_, request));
    auto there = site_.catalog.find_snapshot(request.snapshot.id);
    if (!there) return std::unexpected(std::move(there.error()));
    model::TransferOffer answer;
    if (*there) {
        if ((*there)->vm != request.vm)
            return fail(ErrorKind::invalid, "this snapshot id belongs to another VM here");
        tidy(request.vm);
        answer.complete = true;
        answer.readiness = readiness(from, request.definition, (*there)->disks);
        return answer;
    }
    UNDERSTUDY_TRY(give_up_others(request));
    auto transfer = new_transfer(from, request);
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    const auto running = session(transfer->id);
    const std::lock_guard busy(running->busy);
    end_attempt(*running);
    // The attempt that just ended may have made more durable than was read above.
    auto now = site_.catalog.transfer(transfer->id);
    if (!now) return std::unexpected(std::move(now.error()));
    answer.id = now->id;
    answer.durable = now->durable;
    answer.readiness = readiness(from, request.definition, now->request.snapshot.disks);
    return answer;
}

// Nothing of another peer's VM or transfer, and no other VM's volume, may be touched, whatever ids
// and epochs are claimed.
Result<> Receiving::check_rights(const ClusterId& from, const std::optional<model::Vm>& here,
                                 const model::TransferRequest& request) {
    if (here) {
        auto shared = shared_with(site_, *here, from);
        if (!shared) return std::unexpected(std::move(shared.error()));
        if (!*shared)
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("VM '{}' is here already and has nothing to do with '{}'",
                                  request.vm_name, cluster_name(site_, from)))
                    .advising("If it was taken over there, remove the replica that is here first: "
                              "`understudy replica remove`."));
    }
    auto transfers = site_.catalog.transfers();
    if (!transfers) return std::unexpected(std::move(transfers.error()));
    for (const auto& other : *transfers) {
        if (other.request.vm != request.vm || other.source == from) continue;
        if (other.source == site_.cluster.id)
            return fail(
                Error(ErrorKind::unavailable,
                      fmt::format("a snapshot of VM '{}' is being imported on '{}' from files",
                                  request.vm_name, site_.cluster.name))
                    .advising("Send when that is done, or its task is cancelled."));
        return fail(Error(ErrorKind::refused,
                          fmt::format("another peer is sending VM '{}' here", request.vm_name))
                        .advising("One cluster owns a VM. If that peer is gone, remove it from the "
                                  "peers here."));
    }
    return check_volumes_are_its_own(site_, request.vm, request.snapshot.disks);
}

Result<> Receiving::give_up(const model::Transfer& transfer) {
    {
        const auto running = session(transfer.id);
        const std::lock_guard busy(running->busy);
        end_attempt(*running);
        auto still = site_.catalog.transfer(transfer.id);
        if (!still && still.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(still.error()));
        if (still) UNDERSTUDY_TRY(discard(*still));
    }
    drop_session(transfer.id);
    return {};
}

Result<> Receiving::give_up_others(const model::TransferRequest& request) {
    auto all = site_.catalog.transfers();
    if (!all) return std::unexpected(std::move(all.error()));
    for (const auto& other : *all) {
        if (other.request.vm != request.vm) continue;
        if (other.request.snapshot.id == request.snapshot.id &&
            other.request.base == request.base && other.request.resync == request.resync)
            continue;
        UNDERSTUDY_TRY(give_up(other));
    }
    return {};
}

Result<> Receiving::give_up_older_than(TimePoint last_heard) {
    const std::lock_guard lock(offers_);
    auto all = site_.catalog.transfers();
    if (!all) return std::unexpected(std::move(all.error()));
    for (const auto& transfer : *all) {
        if (transfer.updated >= last_heard) continue;
        spdlog::warn("'{}@{}' came no further for a long time: what was received is removed",
                     transfer.request.vm_name, transfer.request.snapshot.name);
        UNDERSTUDY_TRY(give_up(transfer));
    }
    return {};
}

Result<> Receiving::end_receiving(const VmId& vm, const std::function<Result<>()>& then) {
    const std::lock_guard lock(offers_);
    auto all = site_.catalog.transfers();
    if (!all) return std::unexpected(std::move(all.error()));
    for (const auto& transfer : *all)
        if (transfer.request.vm == vm) UNDERSTUDY_TRY(give_up(transfer));
    return then();
}

Result<> Receiving::forget(const ClusterId& from) {
    const std::lock_guard lock(offers_);
    auto all = site_.catalog.transfers();
    if (!all) return std::unexpected(std::move(all.error()));
    for (const auto& transfer : *all)
        if (transfer.source == from) UNDERSTUDY_TRY(give_up(transfer));
    return {};
}

// What a resync builds on need not be listed, but it must be there, in one of the VM's own volumes
// (check_rights saw to that).
Result<> Receiving::check_resync(const model::TransferRequest& request) {
    for (const auto& base : request.resync) {
        auto pool = find_volume(site_, base.volume);
        if (!pool) return std::unexpected(std::move(pool.error()));
        const bool of_request = std::ranges::any_of(
            request.snapshot.disks, [&](const auto& disk) { return disk.volume == base.volume; });
        if (!of_request) return fail(ErrorKind::invalid, "a resync of a disk that is not sent");
        auto there =
            *pool == nullptr ? Result<bool>(false) : pool_has(**pool, base.volume, base.snapshot);
        if (!there) return std::unexpected(std::move(there.error()));
        if (!*there) return fail(ErrorKind::conflict, "what this resync builds on is not here");
    }
    return {};
}

// What no snapshot lists any more is removed in its own time; a failure waits for the next one.
void Receiving::tidy(const VmId& vm) {
    auto queued = tidy_replica(site_, vm);
    if (!queued) spdlog::warn("tidy a replica: {}", queued.error().text());
}

Result<model::Transfer> Receiving::new_transfer(const ClusterId& from,
                                                const model::TransferRequest& request) {
    auto known = site_.catalog.find_transfer(request.vm, request.snapshot.id);
    if (!known) return std::unexpected(std::move(known.error()));
    if (*known) return std::move(**known);
    if (request.base) {
        auto base = site_.catalog.find_snapshot(*request.base);
        if (!base) return std::unexpected(std::move(base.error()));
        if (!*base || (*base)->vm != request.vm)
            return fail(ErrorKind::conflict, "the base of this send is not here");
    }
    UNDERSTUDY_TRY(check_resync(request));
    model::Transfer made;
    made.id = site_.random.id<TransferId>();
    made.source = from;
    made.request = request;
    auto placed = place_disks(from, request.vm, request.snapshot.disks);
    if (!placed) return std::unexpected(std::move(placed.error()));
    made.request.snapshot.disks = std::move(*placed);
    made.created = made.updated = site_.clock.now();
    UNDERSTUDY_TRY(site_.catalog.add_transfer(made));
    return made;
}

// A volume that is here stays where it is; a new one goes where the peer's pool is mapped, or to
// the pool of the same name, or to the default pool.
Result<std::vector<model::SnapshotDisk>> Receiving::place_disks(
    const ClusterId& from, const VmId& vm, const std::vector<model::SnapshotDisk>& disks) {
    auto peer = site_.catalog.peer(from);
    if (!peer) return std::unexpected(std::move(peer.error()));
    auto here = known_disks(site_, vm);
    if (!here) return std::unexpected(std::move(here.error()));
    auto placed = disks;
    for (auto& disk : placed) {
        const auto mapped = peer->pools.find(disk.pool);
        auto wanted = mapped != peer->pools.end() ? mapped->second : disk.pool;
        if (!site_.pools.contains(wanted)) wanted = site_.settings.default_pool;
        for (const auto& [name, pool] : site_.pools) {
            auto known = pool->knows(disk.volume);
            if (known && *known) wanted = name;
            // A pool that does not answer stops only the VMs that are in it.
            if (!known && name == wanted) return std::unexpected(std::move(known.error()));
        }
        for (const auto& known : *here)
            if (known.volume == disk.volume) wanted = known.pool;
        UNDERSTUDY_TRY(site_.pool(wanted));
        disk.pool = wanted;
    }
    return placed;
}

std::vector<model::ReadinessIssue> Receiving::readiness(
    const ClusterId& from, const model::Definition& definition,
    const std::vector<model::SnapshotDisk>& disks) {
    std::vector<model::ReadinessIssue> issues;
    auto adapted = rehearse(site_, from, definition.domain_xml, disks);
    if (adapted)
        issues = std::move(adapted->issues);
    else
        issues.push_back({model::Severity::blocks, "definition", adapted.error().text()});
    for (const auto& disk : disks) {
        auto pool = site_.pool(disk.pool);
        if (!pool) continue;
        auto capacity = (*pool)->capacity();
        // Less free than a twentieth of the disk: the VM would soon stop for want of space.
        if (capacity && capacity->free.count() < disk.size.count() / 20)
            issues.push_back({model::Severity::warns, "space:" + disk.pool,
                              fmt::format("pool '{}' has only {} free for {} of {}", disk.pool,
                                          base::format_size(capacity->free), disk.target,
                                          base::format_size(disk.size))});
    }
    return issues;
}

std::shared_ptr<Receiving::Session> Receiving::session(const TransferId& id) {
    const std::lock_guard lock(mutex_);
    auto& found = sessions_[id];
    if (!found) found = std::make_shared<Session>();
    return found;
}

// A call that still holds the session finds its transfer gone.
void Receiving::drop_session(const TransferId& id) {
    const std::lock_guard lock(mutex_);
    sessions_.erase(id);
}

void Receiving::end_attempt(Session& session) {
    if (!session.receiver) return;
    auto kept = session.receiver->checkpoint(site_.clock.monotonic());
    if (!kept) spdlog::info("end of an attempt: {}", kept.error().text());
    session.receiver->release();
    session.receiver.reset();
}

Result<model::Transfer> Receiving::transfer_of(const ClusterId& from, const TransferId& id) {
    auto transfer = site_.catalog.transfer(id);
    if (!transfer && transfer.error().kind() == ErrorKind::not_found)
        return fail(ErrorKind::conflict, "this transfer is not known here (any more)");
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    if (transfer->source != from)
        return fail(ErrorKind::refused, "this transfer belongs to another peer");
    return transfer;
}

Result<std::shared_ptr<mover::Receiver>> Receiving::join(const ClusterId& from,
                                                         const TransferId& id,
                                                         std::uint64_t attempt) {
    auto transfer = transfer_of(from, id);
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    const auto running = session(id);
    const std::lock_guard busy(running->busy);
    if (running->receiver) {
        if (running->attempt != attempt)
            return fail(ErrorKind::conflict, "another attempt of this transfer is under way");
        return running->receiver;
    }
    // Read again: an attempt may have ended since.
    transfer = transfer_of(from, id);
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    auto receiver = open_receiver(*transfer);
    if (!receiver) return std::unexpected(std::move(receiver.error()));
    running->attempt = attempt;
    running->receiver = *receiver;
    return running->receiver;
}

namespace {

// A disk that an attempt before a crash published to its pool already: all of its changes were
// durable then, so whatever still comes is there.
class Published final : public ports::Incoming {
public:
    Result<> write(ByteOffset, std::span<const std::byte>) override { return {}; }
    Result<> zero(ByteOffset, ByteSize) override { return {}; }
    Result<> flush() override { return {}; }
    Result<> publish() override { return {}; }
    Result<> discard() override { return {}; }
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> Receiving::open_disk(const model::Transfer& transfer,
                                                              const model::SnapshotDisk& disk) {
    auto pool = site_.pool(disk.pool);
    if (!pool) return std::unexpected(std::move(pool.error()));
    const auto& request = transfer.request;
    auto published = pool_has(**pool, disk.volume, request.snapshot.id);
    if (!published) return std::unexpected(std::move(published.error()));
    if (*published) return std::make_unique<Published>();
    std::optional<model::Snapshot> base;
    if (request.base) {
        auto found = site_.catalog.snapshot(*request.base);
        if (!found) return std::unexpected(std::move(found.error()));
        base = std::move(*found);
    }
    auto below = engine::base_of_disk(base, disk.volume);
    for (const auto& content : request.resync)
        if (content.volume == disk.volume) below = content.snapshot;
    return (*pool)->receive(disk.volume, {request.vm_name, disk.target}, below, request.snapshot.id,
                            disk.size);
}

Result<std::shared_ptr<mover::Receiver>> Receiving::open_receiver(const model::Transfer& transfer) {
    std::vector<mover::TargetDisk> disks;
    for (const auto& disk : transfer.request.snapshot.disks) {
        auto incoming = open_disk(transfer, disk);
        if (!incoming)
            return fail(
                std::move(incoming.error())
                    .during(fmt::format("receive {} into pool '{}'", disk.target, disk.pool)));
        disks.push_back({std::move(*incoming), disk.size});
    }
    mover::ReceiverOptions options;
    options.checkpoint_bytes = site_.settings.checkpoint_bytes;
    options.checkpoint_interval = site_.settings.checkpoint_every;
    options.persist = [this, id = transfer.id](const model::Ack& ack) {
        return site_.catalog.save_durable(id, ack.durable, ByteSize(ack.totals.bytes),
                                          site_.clock.now());
    };
    return std::make_shared<mover::Receiver>(std::move(disks), transfer.durable,
                                             std::move(options));
}

Result<std::vector<model::ReadinessIssue>> Receiving::commit(const ClusterId& from,
                                                             const TransferId& id,
                                                             std::uint64_t attempt,
                                                             const model::Totals& totals) {
    auto transfer = transfer_of(from, id);
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    const auto running = session(id);
    const std::lock_guard busy(running->busy);
    transfer = transfer_of(from, id);  // again: it may have ended while this call waited
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    if (!running->receiver || running->attempt != attempt)
        return fail(ErrorKind::conflict, "this attempt of the transfer is over");
    UNDERSTUDY_TRY(running->receiver->finish(totals));
    auto disks = running->receiver->release();
    running->receiver.reset();
    for (auto& disk : disks) {
        auto published = disk.incoming->publish();
        if (!published) return fail(std::move(published.error()).during("publish a disk"));
    }
    UNDERSTUDY_TRY(run_between_points(site_.settings.at_point, transfer->request.vm,
                                      "receive.publish", [&] { return publish(*transfer); }));
    drop_session(id);
    tidy(transfer->request.vm);
    return readiness(from, transfer->request.definition, transfer->request.snapshot.disks);
}

Result<> Receiving::discard(const model::Transfer& transfer) {
    const auto& snapshot = transfer.request.snapshot;
    for (const auto& disk : snapshot.disks) {
        auto pool = site_.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto published = pool_has(**pool, disk.volume, snapshot.id);
        if (!published) return std::unexpected(std::move(published.error()));
        if (*published) {  // by a commit that was cut off before the catalog had it
            UNDERSTUDY_TRY((*pool)->remove_snapshot(disk.volume, snapshot.id));
            continue;
        }
        auto incoming = open_disk(transfer, disk);
        if (!incoming && incoming.error().kind() == ErrorKind::conflict) continue;
        if (!incoming) return std::unexpected(std::move(incoming.error()));
        UNDERSTUDY_TRY((*incoming)->discard());
    }
    // What a resync was to build on was here before it, and stays for the next one.
    auto disks = vm_disks(snapshot.disks);
    std::erase_if(disks, [&](const model::VmDisk& disk) {
        return std::ranges::any_of(transfer.request.resync, [&](const model::VolumeBase& base) {
            return base.volume == disk.volume;
        });
    });
    UNDERSTUDY_TRY(forget_unused(site_, transfer.request.vm, disks, transfer.id));
    return site_.catalog.remove_transfer(transfer.id);
}

Result<> Receiving::abandon(const ClusterId& from, const TransferId& id) {
    auto transfer = transfer_of(from, id);
    if (!transfer && transfer.error().kind() == ErrorKind::conflict) return {};
    if (!transfer) return std::unexpected(std::move(transfer.error()));
    return give_up(*transfer);
}

void Receiving::stop() {
    std::vector<std::shared_ptr<Session>> all;
    {
        const std::lock_guard lock(mutex_);
        for (auto& [id, running] : sessions_) all.push_back(running);
    }
    for (const auto& running : all) {
        const std::lock_guard busy(running->busy);
        end_attempt(*running);
    }
}

}  // namespace understudy::tasks
