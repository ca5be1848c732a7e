#include "tasks/replicas/receiving.hpp"

#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/digests.hpp"
#include "tasks/disks/incoming.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/take_over.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/replicas/incoming_rules.hpp"
#include "tasks/replicas/tidying.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

// The target's side of a send, as the peers' API calls it. `offer` checks the peer's rights, gives
// up the VM's other transfers and records this one. `join` opens the disks for one attempt.
// `commit` checks the totals, publishes each disk's layer, and then lists the snapshot in one
// transaction of the catalog. A crash leaves the transfer's record with its durable point: the peer
// offers again and goes on from there. A disk's layer that was published stays published.

namespace understudy::tasks {

Result<ports::PeerVm> Receiving::look_up(const ClusterId& from, const VmId& id) {
    auto vm = UNDERSTUDY_VALUE(site_.catalog.find_vm(id));
    ports::PeerVm answer;
    if (!vm) return answer;
    auto shared = UNDERSTUDY_VALUE(shared_with(site_, *vm, from));
    if (!shared) return answer;
    answer.known = true;
    answer.ownership = vm->ownership;
    if (vm->ownership.owner != from) return answer;  // its snapshots are no business of theirs
    auto snapshots = UNDERSTUDY_VALUE(site_.catalog.snapshots(id));
    for (const auto& snapshot : snapshots) answer.snapshots.push_back(snapshot.id);
    return answer;
}

Result<ports::PeerVm> Receiving::look_up_state(const ClusterId& from, const VmId& id) {
    auto answer = look_up(from, id);
    if (!answer || !answer->known || answer->ownership.owner != site_.cluster.id) return answer;
    UNDERSTUDY_TRY(fill_vm_state(site_, id, *answer));
    return answer;
}

namespace {

// A VM that runs here without Understudy, or was released: its disks may be the very files that a
// replica of it would be made of.
Result<> check_undefined(Site& site, const model::TransferRequest& request) {
    auto presence = UNDERSTUDY_VALUE(presence_of(site, request.vm));
    if (presence == Presence::undefined) return {};
    return fail(
        Error(ErrorKind::refused,
              fmt::format(
                  "VM '{}' is defined in libvirt on '{}', and Understudy does not manage it there",
                  request.vm_name, site.cluster.name))
            .advising("If it is not needed there any more: `virsh undefine` it there."));
}

// The volumes that a removal is about to delete are the very ones that a send would write.
Result<> check_no_removal(Site& site, const model::TransferRequest& request) {
    const auto removal =
        UNDERSTUDY_VALUE(find_in_the_way(site, request.vm, Asker::offer, std::nullopt));
    if (removal)
        return fail(ErrorKind::unavailable,
                    fmt::format("the replica of '{}' is being removed from '{}'", request.vm_name,
                                site.cluster.name));
    return {};
}

}  // namespace

Result<model::TransferOffer> Receiving::offer(const ClusterId& from,
                                              const model::TransferRequest& request) {
    const auto closed = site_.offers->close();
    // A peer that offers a snapshot claims to own the VM, and may have become its owner since the
    // last exchange.
    UNDERSTUDY_TRY(
        apply_peer_claims(site_, from, {{request.vm, request.ownership, request.holders}}));
    auto vm = UNDERSTUDY_VALUE(site_.catalog.find_vm(request.vm));
    std::optional<model::Ownership> here;
    if (vm) here = vm->ownership;
    UNDERSTUDY_TRY(
        engine::may_receive(here, request.ownership, site_.cluster.id, from, request.vm_name));
    UNDERSTUDY_TRY(check_rights(from, vm, request));
    if (!vm) UNDERSTUDY_TRY(check_undefined(site_, request));
    UNDERSTUDY_TRY(check_no_removal(site_, request));
    auto there = UNDERSTUDY_VALUE(site_.catalog.find_snapshot(request.snapshot.id));
    model::TransferOffer answer;
    if (there) {
        if (there->vm != request.vm)
            return fail(ErrorKind::invalid, "this snapshot id belongs to another VM here");
        tidy(request.vm);
        answer.complete = true;
        answer.readiness = readiness(from, request.definition, there->disks);
        return answer;
    }
    UNDERSTUDY_TRY(give_up_others(request));
    auto transfer = UNDERSTUDY_VALUE(new_transfer(from, request));
    const auto running = site_.offers->session(transfer.id);
    const std::lock_guard busy(running->busy);
    end_attempt(site_, *running);
    // The attempt that just ended may have made more durable than was read above.
    auto now = UNDERSTUDY_VALUE(site_.catalog.transfer(transfer.id));
    answer.id = now.id;
    answer.durable = now.durable;
    answer.readiness = readiness(from, request.definition, now.request.snapshot.disks);
    return answer;
}

// Nothing of another peer's VM or transfer, and no other VM's volume, may be touched, whatever ids
// and epochs are claimed.
Result<> Receiving::check_rights(const ClusterId& from, const std::optional<model::Vm>& here,
                                 const model::TransferRequest& request) {
    if (here) {
        auto shared = UNDERSTUDY_VALUE(shared_with(site_, *here, from));
        if (!shared)
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("VM '{}' is here already, and '{}' has no right to it",
                                  request.vm_name, cluster_name(site_, from)))
                    .advising("If it was taken over there, remove the replica that is here first: "
                              "`understudy replica remove`."));
    }
    auto transfers = UNDERSTUDY_VALUE(site_.catalog.transfers());
    for (const auto& other : transfers) {
        if (other.request.vm != request.vm || other.source == from) continue;
        if (other.source == site_.cluster.id)
            return fail(
                Error(ErrorKind::unavailable,
                      fmt::format("a snapshot of VM '{}' is being imported on '{}' from files",
                                  request.vm_name, site_.cluster.name))
                    .advising("Send when that import has ended, or cancel its task there."));
        return fail(Error(ErrorKind::refused,
                          fmt::format("another peer is sending VM '{}' here", request.vm_name))
                        .advising("Only one cluster owns a VM. If that peer does not exist any "
                                  "more, remove it from the peers here."));
    }
    return check_volumes_are_its_own(site_, request.vm, request.snapshot.disks);
}

Result<> Receiving::give_up_others(const model::TransferRequest& request) {
    auto all = UNDERSTUDY_VALUE(site_.catalog.transfers());
    for (const auto& other : all) {
        if (other.request.vm != request.vm) continue;
        if (other.request.snapshot.id == request.snapshot.id &&
            other.request.base == request.base && other.request.resync == request.resync)
            continue;
        UNDERSTUDY_TRY(give_up(site_, other));
    }
    return {};
}

Result<> Receiving::give_up_older_than(TimePoint last_heard) {
    const auto closed = site_.offers->close();
    auto all = UNDERSTUDY_VALUE(site_.catalog.transfers());
    for (const auto& transfer : all) {
        if (transfer.updated >= last_heard) continue;
        spdlog::warn("'{}@{}' made no progress for a long time: what was received is removed",
                     transfer.request.vm_name, transfer.request.snapshot.name);
        UNDERSTUDY_TRY(give_up(site_, transfer));
    }
    return {};
}

Result<> Receiving::forget(const ClusterId& from) {
    const auto closed = site_.offers->close();
    auto all = UNDERSTUDY_VALUE(site_.catalog.transfers());
    for (const auto& transfer : all)
        if (transfer.source == from) UNDERSTUDY_TRY(give_up(site_, transfer));
    return {};
}

// The content that a resync builds on need not be listed, but it must be there, in one of the VM's
// own volumes (check_rights saw to that).
Result<> Receiving::check_resync(const model::TransferRequest& request) {
    for (const auto& base : request.resync) {
        auto pool = UNDERSTUDY_VALUE(find_volume(site_, base.volume));
        const bool of_request = std::ranges::any_of(
            request.snapshot.disks, [&](const auto& disk) { return disk.volume == base.volume; });
        if (!of_request) return fail(ErrorKind::invalid, "a resync of a disk that is not sent");
        auto there = UNDERSTUDY_VALUE(
            pool == nullptr ? Result<bool>(false) : pool_has(*pool, base.volume, base.snapshot));
        if (!there)
            return fail(ErrorKind::conflict, "the content on which this resync builds is not here");
    }
    return {};
}

// A task of its own removes content that no snapshot lists any more. If the task cannot be queued,
// the next call tries again.
void Receiving::tidy(const VmId& vm) {
    auto queued = tidy_replica(site_, vm);
    if (!queued) spdlog::warn("tidy a replica: {}", queued.error().text());
}

Result<model::Transfer> Receiving::new_transfer(const ClusterId& from,
                                                const model::TransferRequest& request) {
    auto known = UNDERSTUDY_VALUE(site_.catalog.find_transfer(request.vm, request.snapshot.id));
    if (known) return std::move(*known);
    if (request.base) {
        auto base = UNDERSTUDY_VALUE(site_.catalog.find_snapshot(*request.base));
        if (!base || base->vm != request.vm)
            return fail(ErrorKind::conflict, "the base of this send is not here");
    }
    UNDERSTUDY_TRY(check_resync(request));
    model::Transfer made;
    made.id = site_.random.id<TransferId>();
    made.source = from;
    made.request = request;
    made.request.snapshot.disks =
        UNDERSTUDY_VALUE(place_disks(from, request.vm, request.snapshot.disks));
    made.created = made.updated = site_.clock.now();
    UNDERSTUDY_TRY(site_.catalog.add_transfer(made));
    return made;
}

// A volume that is here stays where it is; a new one goes where the peer's pool is mapped, or to
// the pool of the same name, or to the default pool.
//
// Not the rule of an import (`pool_for` in tasks/files/snapshot_import.cpp). Nobody watches a send,
// and it must not wait for a pool that it does not need. So only the chosen pool has to answer; the
// catalog says where a volume is whose pool is silent; and a mapped pool that this cluster does not
// have is replaced by the default one.
Result<std::vector<model::SnapshotDisk>> Receiving::place_disks(
    const ClusterId& from, const VmId& vm, const std::vector<model::SnapshotDisk>& disks) {
    auto peer = UNDERSTUDY_VALUE(site_.catalog.peer(from));
    auto here = UNDERSTUDY_VALUE(known_disks(site_, vm));
    auto placed = disks;
    for (auto& disk : placed) {
        const auto mapped = peer.pools.find(disk.pool);
        auto wanted = mapped != peer.pools.end() ? mapped->second : disk.pool;
        if (!site_.pools.contains(wanted)) wanted = site_.settings.default_pool;
        for (const auto& [name, pool] : site_.pools) {
            auto known = pool->knows(disk.volume);
            if (known && *known) wanted = name;
            // A pool that does not answer stops only the VMs that are in it.
            if (!known && name == wanted) return error_of(known);
        }
        for (const auto& known : here)
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

Result<model::Transfer> Receiving::transfer_of(const ClusterId& from, const TransferId& id) {
    auto transfer = site_.catalog.transfer(id);
    if (!transfer && transfer.error().kind() == ErrorKind::not_found)
        return fail(ErrorKind::conflict, "this transfer is not known here (any more)");
    if (!transfer) return error_of(transfer);
    if (transfer->source != from)
        return fail(ErrorKind::refused, "this transfer belongs to another peer");
    return transfer;
}

Result<std::shared_ptr<mover::Receiver>> Receiving::join(const ClusterId& from,
                                                         const TransferId& id,
                                                         std::uint64_t attempt) {
    auto transfer = UNDERSTUDY_VALUE(transfer_of(from, id));
    const auto running = site_.offers->session(id);
    const std::lock_guard busy(running->busy);
    if (running->receiver) {
        if (running->attempt != attempt)
            return fail(ErrorKind::conflict, "another attempt of this transfer is under way");
        return running->receiver;
    }
    // Read again: an attempt may have ended since.
    transfer = UNDERSTUDY_VALUE(transfer_of(from, id));
    auto receiver = UNDERSTUDY_VALUE(open_receiver(transfer));
    running->attempt = attempt;
    running->receiver = receiver;
    return running->receiver;
}

Result<std::shared_ptr<mover::Receiver>> Receiving::open_receiver(const model::Transfer& transfer) {
    std::vector<mover::TargetDisk> disks;
    for (const auto& disk : transfer.request.snapshot.disks) {
        auto incoming = open_incoming_disk(site_, transfer, disk);
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
    auto transfer = UNDERSTUDY_VALUE(transfer_of(from, id));
    const auto running = site_.offers->session(id);
    const std::lock_guard busy(running->busy);
    transfer = UNDERSTUDY_VALUE(transfer_of(from, id));
    if (!running->receiver || running->attempt != attempt)
        return fail(ErrorKind::conflict, "this attempt of the transfer has ended");
    UNDERSTUDY_TRY(running->receiver->finish(totals));
    auto disks = running->receiver->release();
    running->receiver.reset();
    for (auto& disk : disks) {
        auto published = disk.incoming->publish();
        if (!published) return fail(std::move(published.error()).during("publish a disk"));
    }
    UNDERSTUDY_TRY(run_between_points(site_.settings.at_point, transfer.request.vm,
                                      "receive.publish", [&] { return publish(transfer); }));
    site_.offers->drop_session(id);
    tidy(transfer.request.vm);
    return readiness(from, transfer.request.definition, transfer.request.snapshot.disks);
}

Result<> Receiving::abandon(const ClusterId& from, const TransferId& id) {
    auto transfer = transfer_of(from, id);
    if (!transfer && transfer.error().kind() == ErrorKind::conflict) return {};
    if (!transfer) return error_of(transfer);
    return give_up(site_, *transfer);
}

void Receiving::stop() {
    for (const auto& running : site_.offers->sessions()) {
        const std::lock_guard busy(running->busy);
        end_attempt(site_, *running);
    }
}

}  // namespace understudy::tasks
