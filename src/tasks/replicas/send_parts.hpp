#pragma once

#include "engine/send_plan.hpp"
#include "mover/sender.hpp"
#include "tasks/queue/site.hpp"

#include <functional>

namespace understudy::tasks {

// What a send is about; nil ids: not given.
struct SendCase {
    VmId vm;
    SnapshotId snapshot;
    ClusterId peer;
    bool full = false;
    SnapshotId base;
    std::vector<std::string> accept;
};

struct PlannedSend {
    model::Snapshot snapshot;
    std::optional<model::Snapshot> base;
    engine::SendPlan plan;
    std::vector<model::ReadinessIssue> issues;  // of the source: what cannot travel
    std::vector<SnapshotId> at_peer;
};

// Asks the peer what it holds, checks ownership and obstacles, and chooses how to send. On the way
// each side learns what the other says of the VM's owner.
Result<PlannedSend> plan_send_here(Site& site, const SendCase& asked);

// The same for a dry run: nothing changes, neither here nor at the peer. refused also when
// the peer does not know yet that the VM is this cluster's: then it does not say what it has.
Result<PlannedSend> preview_send(Site& site, const SendCase& asked);

// What a resync sends of each disk of its request: found by comparing it with what the peer has.
struct Resynced {
    std::vector<std::vector<model::Extent>> disks;  // ascending; empty: it travels as a whole
    ByteSize data() const;
};

// Compares the disks of a resync with the peer's from a durable point on. `pace` is asked now and
// then with how much was looked at here.
Result<Resynced> compare_disks(Site& site, ports::PeerLink& link,
                               const model::TransferRequest& request,
                               const model::DurablePoint& from,
                               const std::function<Result<>(ByteSize)>& pace);

struct SendParts {
    std::vector<mover::SourceDisk> disks;
    mover::SenderOptions options;
};

// Opens the snapshot's disks for reading and their changes since the request's base, or those that
// a comparison found.
Result<SendParts> open_send(Site& site, const model::TransferRequest& request,
                            const Resynced& resynced, std::function<bool()> cancelled);

struct DiskEstimate {
    std::string target;
    ByteSize size;
    ByteSize data;  // to be read and sent, before compression
    ByteSize zero;
};

// What a planned send to that peer would move. Reads allocation maps, not content; for a resync all
// that is allocated, on both sides.
Result<std::vector<DiskEstimate>> estimate_send(Site& site, const PlannedSend& planned,
                                                const ClusterId& peer);

// The allocated data of one disk at and after `from`, without any base. Reads its allocation map
// only.
Result<ByteSize> allocated_data(Site& site, const model::SnapshotDisk& disk,
                                const SnapshotId& snapshot, ByteOffset from);

// How much data of a send there is to read at and after a point. Reads allocation maps only; data
// that a resync has to compare first is left out.
Result<ByteSize> data_after(Site& site, const model::TransferRequest& request,
                            const model::DurablePoint& point);

// The task's own limit or the peer's, whichever is lower, as it is now (looked up once a second).
std::function<std::uint64_t()> rate_limit_of(Site& site, const ClusterId& peer,
                                             std::uint64_t own_limit_bytes);

// Saves the record, unless the stored one is of a newer snapshot at that peer.
Result<> record_replication(Site& site, const model::Replication& done);

}  // namespace understudy::tasks
