#include "engine/send_plan.hpp"
#include "mover/lane.hpp"
#include "mover/pump.hpp"
#include "protocol/features.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/ownership_news.hpp"
#include "tasks/parts.hpp"
#include "tasks/send_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

SendCase case_of(Work& work) {
    return SendCase{id_in<VmId>(work.arguments(), "vm"),
                    id_in<SnapshotId>(work.arguments(), "snapshot"),
                    id_in<ClusterId>(work.arguments(), "peer"),
                    flag_in(work.arguments(), "full"),
                    id_in<SnapshotId>(work.arguments(), "base"),
                    texts_in(work.arguments(), "accept")};
}

model::Hold transfer_hold(Work& work, const SnapshotId& snapshot) {
    return {snapshot, model::HoldKind::transfer, work.task().id.text()};
}

Result<> let_go(Work& work) {
    auto& catalog = work.site().catalog;
    UNDERSTUDY_TRY(
        catalog.remove_hold(transfer_hold(work, id_in<SnapshotId>(work.arguments(), "snapshot"))));
    const auto base = id_in<SnapshotId>(work.memo(), "base");
    if (!base.is_nil()) UNDERSTUDY_TRY(catalog.remove_hold(transfer_hold(work, base)));
    return {};
}

// Two sends of one VM to one peer would take turns in throwing away what the other had sent.
Result<> check_turn(Work& work) {
    auto active = work.site().catalog.tasks({id_in<VmId>(work.arguments(), "vm"), true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    bool older = false;  // they come newest first
    for (const auto& task : *active) {
        const bool sends = std::ranges::any_of(parts_of(task), [&](const TaskPart& part) {
            return part.kind == kSend &&
                   text_in(part.arguments, "peer") == text_in(work.arguments(), "peer");
        });
        if (older && sends && task.started && !task.cancel_requested)
            return fail(
                Error(ErrorKind::unavailable, fmt::format("'{}' goes first", task.title))
                    .advising(fmt::format("Let it end, or cancel it: `understudy task cancel {}`.",
                                          task.id.text().substr(0, 8))));
        older = older || task.id == work.task().id;
    }
    return {};
}

constexpr const char* kLostKnown = "lost_known";

// Whether the peer has no more what it is known to have, however new that was.
Result<bool> lost_what_is_known(Site& site, const SendCase& sent,
                                const std::vector<SnapshotId>& at_peer) {
    auto known = site.catalog.replications(sent.vm);
    if (!known) return std::unexpected(std::move(known.error()));
    for (const auto& replication : *known)
        if (replication.peer == sent.peer)
            return std::ranges::find(at_peer, replication.snapshot) == at_peer.end();
    return true;
}

Result<> plan(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(check_turn(work));
    UNDERSTUDY_TRY(let_go(work));  // of what an earlier plan held
    auto planned = plan_send_here(site, case_of(work));
    if (!planned) return std::unexpected(std::move(planned.error()));
    work.memo()["kind"] = std::string(engine::to_string(planned->plan.kind));
    work.memo()["base"] = planned->plan.base ? planned->plan.base->text() : std::string();
    auto lost = lost_what_is_known(site, case_of(work), planned->at_peer);
    if (!lost) return std::unexpected(std::move(lost.error()));
    work.memo()[kLostKnown] = *lost;
    work.memo()["resync"] = planned->plan.resync;
    work.log(fmt::format("{}: {}", engine::to_string(planned->plan.kind), planned->plan.reason));
    UNDERSTUDY_TRY(work.save_memo());
    if (planned->plan.kind == engine::SendKind::nothing) return {};
    UNDERSTUDY_TRY(site.catalog.add_hold(transfer_hold(work, planned->snapshot.id)));
    if (planned->plan.base)
        UNDERSTUDY_TRY(site.catalog.add_hold(transfer_hold(work, *planned->plan.base)));
    return {};
}

// From now on starting this VM is the daemon's business, not libvirt's: a host that comes back
// must ask the peers first. What the operator had set is in the VM's record.
Result<> guard_autostart(Work& work) {
    auto& site = work.site();
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto described = site.hypervisor.describe(id);
    if (!described && described.error().kind() == ErrorKind::not_found) return {};
    if (!described) return std::unexpected(std::move(described.error()));
    if (!described->summary.autostart) return {};
    auto vm = site.catalog.vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    vm->autostart = true;
    UNDERSTUDY_TRY(site.catalog.save_vm(*vm));
    work.log("autostart of the VM is understudyd's from now on");
    return site.hypervisor.set_autostart(id, false);
}

Result<model::TransferRequest> request_of(Work& work, const model::Snapshot& snapshot) {
    auto& catalog = work.site().catalog;
    auto vm = catalog.vm(snapshot.vm);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto definition = catalog.definition(snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    model::TransferRequest request{
        snapshot.vm, vm->name, vm->ownership, snapshot, std::move(*definition), {}};
    const auto base = id_in<SnapshotId>(work.memo(), "base");
    if (!base.is_nil()) request.base = base;
    request.resync = work.memo().value("resync", std::vector<model::VolumeBase>{});
    auto holders = holders_beside(work.site(), *vm, id_in<ClusterId>(work.arguments(), "peer"));
    if (!holders) return std::unexpected(std::move(holders.error()));
    request.holders = std::move(*holders);
    return request;
}

// Where the numbers of this attempt stand within those of the whole send.
struct Account {
    std::uint64_t total_bytes = 0;   // of data
    std::uint64_t before_bytes = 0;  // durable at the peer when this attempt began
    std::uint64_t before_wire_bytes = 0;

    model::Progress of_all(model::Progress attempt) const {
        // Small gaps travel with what they part: more may be handled than is listed as data.
        attempt.done_bytes = std::min(before_bytes + attempt.done_bytes, total_bytes);
        attempt.total_bytes = total_bytes;
        attempt.wire_bytes += before_wire_bytes;
        return attempt;
    }
};

Result<Account> account_of(Work& work, const model::TransferRequest& request,
                           const model::DurablePoint& durable, const Resynced& resynced) {
    auto total = data_after(work.site(), request, {});
    if (!total) return std::unexpected(std::move(total.error()));
    auto left = total;
    if (durable > model::DurablePoint{}) left = data_after(work.site(), request, durable);
    if (!left) return std::unexpected(std::move(left.error()));
    // What was compared before this attempt's point is known from the first one.
    const auto compared = resynced.data();
    if (durable == model::DurablePoint{} || !work.memo().contains("compared_bytes"))
        work.memo()["compared_bytes"] = compared.count();
    *total += ByteSize(std::max(number_in(work.memo(), "compared_bytes"), compared.count()));
    *left += compared;
    const auto left_before = number_in(work.memo(), "left_bytes", total->count());
    if (left->count() < left_before) work.moved_on();
    work.memo()["left_bytes"] = left->count();
    return Account{total->count(), (*total - *left).count(), work.task().progress.wire_bytes};
}

// By threads, or in a simulation by this one thread over one channel; the steps are the same.
Result<model::Totals> drive(Work& work, mover::Sender& sender, const Account& account,
                            const mover::OpenChannel& open) {
    auto& site = work.site();
    if (site.settings.threads) {
        const auto channels = number_in(work.arguments(), "channels", site.settings.channels);
        mover::PumpOptions options;
        options.channels = static_cast<unsigned>(std::clamp<std::uint64_t>(channels, 1, 16));
        options.patience = site.settings.link_patience;
        options.report = [&work, &account](const model::Progress& attempt) {
            work.progress(account.of_all(attempt));
        };
        return mover::pump(sender, open, site.clock, options);
    }
    auto channel = open();
    if (!channel) return std::unexpected(std::move(channel.error()));
    mover::Lane lane(sender, **channel);
    while (true) {
        auto did = lane.step();
        if (!did) return std::unexpected(std::move(did.error()));
        if (*did == mover::Lane::Did::finished) return sender.totals();
    }
}

// Before any channel is open, which would wait in vain meanwhile.
Result<Resynced> compare(Work& work, ports::PeerLink& link, const model::TransferRequest& request,
                         const model::DurablePoint& durable) {
    if (request.resync.empty()) return Resynced{};
    std::uint64_t looked = 0;
    auto resynced = compare_disks(work.site(), link, request, durable, [&](ByteSize read) {
        looked += read.count();
        auto progress = work.task().progress;
        progress.note = fmt::format("comparing: {} so far", base::format_size(ByteSize(looked)));
        work.progress(progress);
        return work.checkpoint();
    });
    if (resynced)
        work.log(
            fmt::format("{} differ from what the peer has", base::format_size(resynced->data())));
    return resynced;
}

// Streams from the offered durable point and commits. One attempt.
Result<> stream(Work& work, ports::PeerLink& link, const model::TransferRequest& request,
                const model::TransferOffer& offer) {
    auto& site = work.site();
    auto resynced = compare(work, link, request, offer.durable);
    if (!resynced) return std::unexpected(std::move(resynced.error()));
    auto account = account_of(work, request, offer.durable, *resynced);
    if (!account) return std::unexpected(std::move(account.error()));
    UNDERSTUDY_TRY(work.save_memo());
    auto parts = open_send(site, request, *resynced, [&work] { return work.interrupted(); });
    if (!parts) return std::unexpected(std::move(parts.error()));
    parts->options.rate_limit = rate_limit_of(site, id_in<ClusterId>(work.arguments(), "peer"),
                                              number_in(work.arguments(), "rate_bytes"));
    auto peer = site.catalog.peer(id_in<ClusterId>(work.arguments(), "peer"));
    if (!peer) return std::unexpected(std::move(peer.error()));
    parts->options.codecs = protocol::usable_codecs(peer->capabilities);
    parts->options.first_codec = site.link_memory->codec(peer->id, site.clock.monotonic());
    mover::Sender sender(std::move(parts->disks), offer.durable, std::move(parts->options));
    const auto attempt = site.random.next() | 1;
    auto totals =
        drive(work, sender, *account, [&] { return link.open_channel(offer.id, attempt); });
    work.progress(account->of_all(sender.progress()));
    if (const auto learnt = sender.learnt_codec())
        site.link_memory->learn(peer->id, *learnt, site.clock.monotonic());
    if (!totals) return std::unexpected(std::move(totals.error()));
    auto committed = link.commit(offer.id, attempt, *totals);
    if (!committed) return fail(std::move(committed.error()).during("commit"));
    auto& result = work.result();
    result["bytes"] = work.task().progress.done_bytes;
    result["wire_bytes"] = work.task().progress.wire_bytes;
    const auto began = work.task().started.value_or(work.task().created);
    result["seconds"] = static_cast<double>((site.clock.now() - began).count()) / 1000;
    work.memo()["readiness"] = *committed;
    return {};
}

// What the operator needs to know of an attempt that failed.
Error told(Work& work, Error error) {
    const auto& progress = work.task().progress;
    if (error.kind() == ErrorKind::no_space && progress.total_bytes > progress.done_bytes) {
        const ByteSize left(progress.total_bytes - progress.done_bytes);
        error = std::move(error).during(
            fmt::format("about {} more needed there", base::format_size(left)));
    }
    return std::move(error).keeping(
        fmt::format("what the peer has already received; `understudy task retry {}` continues "
                    "from there",
                    work.task().id.text().substr(0, 8)));
}

Result<> transfer(Work& work) {
    if (text_in(work.memo(), "kind") == "nothing") return {};
    auto& site = work.site();
    auto snapshot = site.catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto link = site.peers.to(id_in<ClusterId>(work.arguments(), "peer"));
    if (!link) return std::unexpected(std::move(link.error()));
    auto request = request_of(work, *snapshot);
    if (!request) return std::unexpected(std::move(request.error()));
    auto offer = (*link)->offer(*request);
    if (!offer) return std::unexpected(std::move(offer.error()));
    work.memo()["readiness"] = offer->readiness;
    if (offer->complete) return {};
    work.memo()["transfer"] = offer->id.text();
    if (offer->durable > model::DurablePoint{})
        work.log(fmt::format("going on at disk {} of {}, {}", offer->durable.disk + 1,
                             request->snapshot.disks.size(),
                             base::format_size(ByteSize(offer->durable.offset.count()))));
    auto streamed = stream(work, **link, *request, *offer);
    if (!streamed) return fail(told(work, std::move(streamed.error())));
    return {};
}

Result<> record(Work& work) {
    auto& site = work.site();
    auto snapshot = site.catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    model::Replication done;
    done.vm = snapshot->vm;
    done.peer = id_in<ClusterId>(work.arguments(), "peer");
    done.snapshot = snapshot->id;
    done.snapshot_taken = snapshot->taken;
    done.sent = site.clock.now();
    done.readiness = work.memo().value("readiness", nlohmann::json::array()).dump();
    // Otherwise an older snapshot that came late is no news.
    UNDERSTUDY_TRY(flag_in(work.memo(), kLostKnown) ? site.catalog.save_replication(done)
                                                    : record_replication(site, done));
    UNDERSTUDY_TRY(site.catalog.note_sent(done.peer, done.snapshot));
    UNDERSTUDY_TRY(let_go(work));
    work.result()["kind"] = text_in(work.memo(), "kind");
    work.result()["readiness"] = work.memo().value("readiness", nlohmann::json::array());
    return {};
}

// The peer may have committed before, and its answer was lost: then it has the snapshot, and counts
// on it as the next base.
Result<> heed_commit(Work& work, ports::PeerLink& link) {
    auto there = link.look_up(id_in<VmId>(work.arguments(), "vm"));
    if (!there) return std::unexpected(std::move(there.error()).during("ask what the peer holds"));
    const auto snapshot = id_in<SnapshotId>(work.arguments(), "snapshot");
    if (std::ranges::none_of(there->snapshots,
                             [&](const SnapshotId& held) { return held == snapshot; }))
        return {};
    work.log("the peer has the snapshot: it was complete before the cancel");
    return record(work);
}

// A cancelled send leaves nothing at the peer; a failed one leaves what `task retry` goes on from.
Result<> clean_up(Work& work) {
    UNDERSTUDY_TRY(let_go(work));
    const auto transfer = id_in<TransferId>(work.memo(), "transfer");
    if (work.task().state != model::TaskState::cancelled || transfer.is_nil()) {
        work.begin_again();
        return {};
    }
    auto link = work.site().peers.to(id_in<ClusterId>(work.arguments(), "peer"));
    if (!link) return std::unexpected(std::move(link.error()));
    auto gone = (*link)->abandon(transfer);
    if (!gone)
        return fail(std::move(gone.error())
                        .during("remove what the peer received")
                        .advising("The peer removes it with the next send of this VM."));
    UNDERSTUDY_TRY(heed_commit(work, **link));
    work.begin_again();
    return {};
}

}  // namespace

Kind send() {
    return Kind{kSend,
                {{"plan", plan},
                 {"guard_autostart", guard_autostart},
                 {"transfer", transfer},
                 {"record", record, true}},
                clean_up,
                true};
}

std::vector<Kind> all_kinds() {
    return {snapshot_create(),   snapshot_remove(),
            snapshot_rollback(), send(),
            promote(),           release(),
            replica_remove(),    snapshot_export(),
            snapshot_import(),   replica_verify(),
            replica_repair(),    replica_drill(),
            replica_tidy(),      move(),
            keep_branch(),       resolve()};
}

}  // namespace understudy::tasks
