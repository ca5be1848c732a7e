#pragma once

#include "engine/send_plan.hpp"
#include "mover/sender.hpp"
#include "tasks/site.hpp"

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
};

// Checks ownership, asks the peer what it holds, checks obstacles and chooses how to send.
Result<PlannedSend> plan_send_here(Site& site, const SendCase& asked);

struct SendParts {
    std::vector<mover::SourceDisk> disks;
    mover::SenderOptions options;
};

// Opens the snapshot's disks for reading and their changes since the request's base.
Result<SendParts> open_send(Site& site, const model::TransferRequest& request,
                            std::function<bool()> cancelled);

struct DiskEstimate {
    std::string target;
    ByteSize size;
    ByteSize data;  // to be read and sent, before compression
    ByteSize zero;
};

// What a planned send would move. Reads allocation maps, not content.
Result<std::vector<DiskEstimate>> estimate_send(Site& site, const PlannedSend& planned);

// How much data of a send there is to read at and after a point. Reads allocation maps only.
Result<ByteSize> data_after(Site& site, const model::TransferRequest& request,
                            const model::DurablePoint& point);

// The task's own limit or the peer's, whichever is lower, as it is now (looked up once a second).
std::function<std::uint64_t()> rate_limit_of(Site& site, const ClusterId& peer,
                                             std::uint64_t own_limit_bytes);

// The newest snapshot at the peer is never recorded as older than it is.
Result<> record_replication(Site& site, const model::Replication& done);

}  // namespace understudy::tasks
