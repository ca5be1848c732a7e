#include "tasks/disks/incoming.hpp"

#include "engine/send_plan.hpp"
#include "tasks/disks/digests.hpp"
#include "tasks/disks/volumes.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

// A transfer is given up in this order: its attempt ends, the layers that came go from the pools,
// its record goes. A crash in between leaves the record, by which the next call finds the rest.

namespace understudy::tasks {

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

Result<std::unique_ptr<ports::Incoming>> open_incoming_disk(Site& site,
                                                            const model::Transfer& transfer,
                                                            const model::SnapshotDisk& disk) {
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    const auto& request = transfer.request;
    auto published = UNDERSTUDY_VALUE(pool_has(*pool, disk.volume, request.snapshot.id));
    if (published) return std::make_unique<Published>();
    std::optional<model::Snapshot> base;
    if (request.base) {
        base = UNDERSTUDY_VALUE(site.catalog.snapshot(*request.base));
    }
    auto below = engine::base_of_disk(base, disk.volume);
    for (const auto& content : request.resync)
        if (content.volume == disk.volume) below = content.snapshot;
    return pool->receive(disk.volume, {request.vm_name, disk.target}, below, request.snapshot.id,
                         disk.size);
}

void end_attempt(Site& site, IncomingSession& session) {
    if (!session.receiver) return;
    auto kept = session.receiver->checkpoint(site.clock.monotonic());
    if (!kept) spdlog::info("end of an attempt: {}", kept.error().text());
    session.receiver->release();
    session.receiver.reset();
}

namespace {

Result<> discard(Site& site, const model::Transfer& transfer) {
    const auto& snapshot = transfer.request.snapshot;
    for (const auto& disk : snapshot.disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto published = UNDERSTUDY_VALUE(pool_has(*pool, disk.volume, snapshot.id));
        if (published) {  // by a commit that was cut off before the catalog had it
            UNDERSTUDY_TRY(pool->remove_snapshot(disk.volume, snapshot.id));
            continue;
        }
        auto incoming = open_incoming_disk(site, transfer, disk);
        if (!incoming && incoming.error().kind() == ErrorKind::conflict) continue;
        if (!incoming) return error_of(incoming);
        UNDERSTUDY_TRY((*incoming)->discard());
    }
    // The content that a resync was to build on was here before the transfer: it stays.
    auto disks = vm_disks(snapshot.disks);
    std::erase_if(disks, [&](const model::VmDisk& disk) {
        return std::ranges::any_of(transfer.request.resync, [&](const model::VolumeBase& base) {
            return base.volume == disk.volume;
        });
    });
    UNDERSTUDY_TRY(forget_unused(site, transfer.request.vm, disks, transfer.id));
    return site.catalog.remove_transfer(transfer.id);
}

}  // namespace

Result<> give_up(Site& site, const model::Transfer& transfer) {
    {
        const auto running = site.offers->session(transfer.id);
        const std::lock_guard busy(running->busy);
        end_attempt(site, *running);
        auto still = site.catalog.transfer(transfer.id);
        if (!still && still.error().kind() != ErrorKind::not_found) return error_of(still);
        if (still) UNDERSTUDY_TRY(discard(site, *still));
    }
    site.offers->drop_session(transfer.id);
    return {};
}

Result<> between_offers(Site& site, const std::function<Result<>()>& then) {
    const auto closed = site.offers->close();
    return then();
}

Result<> end_receiving(Site& site, const VmId& vm, const std::function<Result<>()>& then) {
    const auto closed = site.offers->close();
    const auto all = UNDERSTUDY_VALUE(site.catalog.transfers());
    for (const auto& transfer : all)
        if (transfer.request.vm == vm) UNDERSTUDY_TRY(give_up(site, transfer));
    return then();
}

Result<> end_receiving(Site& site, const VmId& vm) {
    return end_receiving(site, vm, [] { return Result<>{}; });
}

}  // namespace understudy::tasks
