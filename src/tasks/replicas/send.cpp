#include "engine/send_plan.hpp"
#include "mover/lane.hpp"
#include "mover/pump.hpp"
#include "protocol/features.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/replicas/kinds.hpp"
#include "tasks/replicas/send_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

// Sends one snapshot to a peer. `plan` asks what the peer has, chooses full, incremental, resync or
// nothing, and holds the snapshot and its base. `guard_autostart` takes autostart from libvirt.
// `transfer` offers the snapshot, streams it and has it committed. `record` notes what the peer has
// and lets go of the holds. After a crash `transfer` offers again, and the peer names the durable
// point to go on from. A cancel has the peer remove what came; a failure leaves it for a retry.

namespace understudy::tasks {
namespace {

const SendArguments& arguments_of(Work& work) {
    return work.arguments<SendArguments>();
}

SendMemo& memo_of(Work& work) {
    return work.memo<SendMemo>();
}

SendResult& result_of(Work& work) {
    return work.result<SendResult>();
}

SendCase case_of(Work& work) {
    const auto& asked = arguments_of(work);
    return SendCase{
        asked.vm,    asked.snapshot, asked.peer, asked.full, asked.base.value_or(SnapshotId{}),
        asked.accept};
}

model::Hold transfer_hold(Work& work, const SnapshotId& snapshot) {
    return {snapshot, model::HoldKind::transfer, work.task().id.text()};
}

Result<> release_holds(Work& work) {
    auto& catalog = work.site().catalog;
    UNDERSTUDY_TRY(catalog.remove_hold(transfer_hold(work, arguments_of(work).snapshot)));
    const auto& plan = memo_of(work).plan;
    if (plan && plan->base) UNDERSTUDY_TRY(catalog.remove_hold(transfer_hold(work, *plan->base)));
    return {};
}

// Whether the peer no longer has the newest snapshot that our record says it has, or there is no
// such record.
Result<bool> lost_what_is_known(Site& site, const SendCase& sent,
                                const std::vector<SnapshotId>& at_peer) {
    auto known = UNDERSTUDY_VALUE(site.catalog.replications(sent.vm));
    for (const auto& replication : known)
        if (replication.peer == sent.peer)
            return std::ranges::find(at_peer, replication.snapshot) == at_peer.end();
    return true;
}

Result<> plan(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(check_send_turn(site, work.task(), arguments_of(work).peer));
    UNDERSTUDY_TRY(release_holds(work));  // that an earlier plan made
    auto planned = UNDERSTUDY_VALUE(plan_send_here(site, case_of(work)));
    memo_of(work).plan = {.kind = planned.plan.kind,
                          .base = planned.plan.base,
                          .resync = planned.plan.resync,
                          .peer_lost_newest = false};
    memo_of(work).plan->peer_lost_newest =
        UNDERSTUDY_VALUE(lost_what_is_known(site, case_of(work), planned.at_peer));
    work.log(fmt::format("{}: {}", engine::to_string(planned.plan.kind), planned.plan.reason));
    UNDERSTUDY_TRY(work.save_memo());
    if (planned.plan.kind == engine::SendKind::nothing) return {};
    UNDERSTUDY_TRY(site.catalog.add_hold(transfer_hold(work, planned.snapshot.id)));
    if (planned.plan.base)
        UNDERSTUDY_TRY(site.catalog.add_hold(transfer_hold(work, *planned.plan.base)));
    return {};
}

// From now on starting this VM is the daemon's business, not libvirt's: a host that comes back must
// ask the peers first. The operator's own setting is in the VM's record.
Result<> guard_autostart(Work& work) {
    auto& site = work.site();
    const auto id = arguments_of(work).vm;
    auto described = site.hypervisor.describe(id);
    if (!described && described.error().kind() == ErrorKind::not_found) return {};
    if (!described) return error_of(described);
    if (!described->summary.autostart) return {};
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
    vm.autostart = true;
    UNDERSTUDY_TRY(site.catalog.save_vm(vm));
    work.log("from now on understudyd does the autostart of the VM");
    return site.hypervisor.set_autostart(id, false);
}

Result<model::TransferRequest> request_of(Work& work, const model::Snapshot& snapshot) {
    auto& catalog = work.site().catalog;
    auto vm = UNDERSTUDY_VALUE(catalog.vm(snapshot.vm));
    auto definition = UNDERSTUDY_VALUE(catalog.definition(snapshot.id));
    model::TransferRequest request{snapshot.vm,           vm.name, vm.ownership, snapshot,
                                   std::move(definition), {}};
    if (const auto& plan = memo_of(work).plan) {
        request.base = plan->base;
        request.resync = plan->resync;
    }
    auto holders = UNDERSTUDY_VALUE(holders_beside(work.site(), vm, arguments_of(work).peer));
    request.holders = std::move(holders);
    return request;
}

// Where the numbers of this attempt stand within those of the whole send.
struct Account {
    std::uint64_t total_bytes = 0;   // of data
    std::uint64_t before_bytes = 0;  // durable at the peer when this attempt began
    std::uint64_t before_wire_bytes = 0;

    model::Progress of_all(model::Progress attempt) const {
        // Small gaps are sent together with their neighbours, so more may be sent than is listed as
        // data.
        attempt.done_bytes = std::min(before_bytes + attempt.done_bytes, total_bytes);
        attempt.total_bytes = total_bytes;
        attempt.wire_bytes += before_wire_bytes;
        return attempt;
    }
};

Result<Account> account_of(Work& work, const model::TransferRequest& request,
                           const model::DurablePoint& durable, const Resynced& resynced) {
    auto total = data_after(work.site(), request, {});
    if (!total) return error_of(total);
    auto left = total;
    if (durable > model::DurablePoint{}) left = data_after(work.site(), request, durable);
    if (!left) return error_of(left);
    // This attempt compares only from its point on. The first attempt compared, and counted, all.
    const auto compared = resynced.data();
    auto& memo = memo_of(work);
    if (durable == model::DurablePoint{} || !memo.compared_bytes)
        memo.compared_bytes = compared.count();
    *total += ByteSize(std::max(*memo.compared_bytes, compared.count()));
    *left += compared;
    const auto left_before = memo.left_bytes.value_or(total->count());
    if (left->count() < left_before) work.moved_on();
    memo.left_bytes = left->count();
    return Account{total->count(), (*total - *left).count(), work.task().progress.wire_bytes};
}

// By threads, or in a simulation by this one thread over one channel; the steps are the same.
Result<model::Totals> drive(Work& work, mover::Sender& sender, const Account& account,
                            const mover::OpenChannel& open) {
    auto& site = work.site();
    if (site.settings.threads) {
        const auto channels = arguments_of(work).channels.value_or(site.settings.channels);
        mover::PumpOptions options;
        options.channels = static_cast<unsigned>(std::clamp<std::uint64_t>(channels, 1, 16));
        options.patience = site.settings.link_patience;
        options.report = [&work, &account](const model::Progress& attempt) {
            work.progress(account.of_all(attempt));
        };
        return mover::pump(sender, open, site.clock, options);
    }
    auto channel = UNDERSTUDY_VALUE(open());
    mover::Lane lane(sender, *channel);
    while (true) {
        auto did = UNDERSTUDY_VALUE(lane.step());
        if (did == mover::Lane::Did::finished) return sender.totals();
    }
}

// Done before any channel is open: an open one would only wait meanwhile.
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
    auto resynced = UNDERSTUDY_VALUE(compare(work, link, request, offer.durable));
    auto account = UNDERSTUDY_VALUE(account_of(work, request, offer.durable, resynced));
    UNDERSTUDY_TRY(work.save_memo());
    auto parts = UNDERSTUDY_VALUE(
        open_send(site, request, resynced, [&work] { return work.interrupted(); }));
    parts.options.rate_limit =
        rate_limit_of(site, arguments_of(work).peer, arguments_of(work).rate_bytes);
    auto peer = UNDERSTUDY_VALUE(site.catalog.peer(arguments_of(work).peer));
    parts.options.codecs = protocol::usable_codecs(peer.capabilities);
    parts.options.first_codec = site.link_memory->codec(peer.id, site.clock.monotonic());
    mover::Sender sender(std::move(parts.disks), offer.durable, std::move(parts.options));
    const auto attempt = site.random.next() | 1;
    auto totals =
        drive(work, sender, account, [&] { return link.open_channel(offer.id, attempt); });
    work.progress(account.of_all(sender.progress()));
    if (const auto learnt = sender.learnt_codec())
        site.link_memory->learn(peer.id, *learnt, site.clock.monotonic());
    if (!totals) return error_of(totals);
    auto committed = link.commit(offer.id, attempt, *totals);
    if (!committed) return fail(std::move(committed.error()).during("commit"));
    auto& result = result_of(work);
    result.bytes = work.task().progress.done_bytes;
    result.wire_bytes = work.task().progress.wire_bytes;
    const auto began = work.task().started.value_or(work.task().created);
    result.seconds = static_cast<double>((site.clock.now() - began).count()) / 1000;
    memo_of(work).readiness = *committed;
    return {};
}

// What the operator needs to know of an attempt that failed.
Error with_operator_advice(Work& work, Error error) {
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
    if (memo_of(work).sends_nothing()) return {};
    auto& site = work.site();
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(arguments_of(work).snapshot));
    auto link = UNDERSTUDY_VALUE(site.peers.to(arguments_of(work).peer));
    auto request = UNDERSTUDY_VALUE(request_of(work, snapshot));
    auto offer = UNDERSTUDY_VALUE(link->offer(request));
    memo_of(work).readiness = offer.readiness;
    if (offer.complete) return {};
    memo_of(work).transfer = offer.id;
    if (offer.durable > model::DurablePoint{})
        work.log(fmt::format("going on at disk {} of {}, {}", offer.durable.disk + 1,
                             request.snapshot.disks.size(),
                             base::format_size(ByteSize(offer.durable.offset.count()))));
    auto streamed = stream(work, *link, request, offer);
    if (!streamed) return fail(with_operator_advice(work, std::move(streamed.error())));
    return {};
}

Result<> record(Work& work) {
    const auto& plan = memo_of(work).plan;
    if (!plan) return fail(ErrorKind::corrupt, "the memo does not say what was sent");
    auto& site = work.site();
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(arguments_of(work).snapshot));
    model::Replication done;
    done.vm = snapshot.vm;
    done.peer = arguments_of(work).peer;
    done.snapshot = snapshot.id;
    done.snapshot_taken = snapshot.taken;
    done.sent = site.clock.now();
    done.readiness = nlohmann::json(memo_of(work).readiness).dump();
    // If the peer lost its newest snapshot, this one replaces it in the record even if it is older;
    // else an older one leaves the record as it is.
    UNDERSTUDY_TRY(plan->peer_lost_newest ? site.catalog.save_replication(done)
                                          : record_replication(site, done));
    UNDERSTUDY_TRY(site.catalog.note_sent(done.peer, done.snapshot));
    UNDERSTUDY_TRY(release_holds(work));
    result_of(work).kind = engine::to_string(plan->kind);
    result_of(work).readiness = memo_of(work).readiness;
    return {};
}

// The peer may have committed before, and its answer was lost: then it has the snapshot, and counts
// on it as the next base.
Result<> record_if_peer_committed(Work& work, ports::PeerLink& link) {
    auto there = link.look_up(arguments_of(work).vm);
    if (!there) return fail(std::move(there.error()).during("ask what the peer holds"));
    const auto snapshot = arguments_of(work).snapshot;
    if (std::ranges::none_of(there->snapshots,
                             [&](const SnapshotId& held) { return held == snapshot; }))
        return {};
    work.log("the peer has the snapshot; it was complete before the task was cancelled");
    return record(work);
}

// A cancelled send leaves nothing at the peer; a failed one leaves what `task retry` goes on from.
Result<> clean_up(Work& work) {
    UNDERSTUDY_TRY(release_holds(work));
    const auto transfer = memo_of(work).transfer;
    if (work.task().state != model::TaskState::cancelled || !transfer) {
        work.begin_again();
        return {};
    }
    auto link = UNDERSTUDY_VALUE(work.site().peers.to(arguments_of(work).peer));
    auto gone = link->abandon(*transfer);
    if (!gone)
        return fail(std::move(gone.error())
                        .during("remove what the peer received")
                        .advising("The peer removes it with the next send of this VM."));
    UNDERSTUDY_TRY(record_if_peer_committed(work, *link));
    work.begin_again();
    return {};
}

}  // namespace

Kind send() {
    return {.name = kSend,
            .records = records_of<SendArguments, SendMemo, SendResult>(),
            .steps = {{.name = "plan", .run = plan},
                      {.name = "guard_autostart", .run = guard_autostart},
                      {.name = "transfer", .run = transfer},
                      {.name = "record", .run = record, .must_go_on = true}},
            .on_failure = clean_up};
}

}  // namespace understudy::tasks
