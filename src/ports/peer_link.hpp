#pragma once

#include "model/cluster.hpp"
#include "model/proof.hpp"
#include "model/transfer.hpp"
#include "model/vm.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace understudy::ports {

// What a peer holds of one VM.
struct PeerVm {
    bool known = false;
    model::Ownership ownership;         // meaningful when known
    std::vector<SnapshotId> snapshots;  // published there
    // From look_up_state, if the peer owns the VM: what its hypervisor says, which is "running",
    // "paused", "stopped" or "undefined". Else empty.
    std::string state = {};
    std::string trouble = {};  // why it could not be started there after it was handed over
};

// A VM that its owner gives away.
struct Handover {
    VmId vm;
    model::Ownership ownership;  // the source's record: the target owns it, under the next epoch
    SnapshotId snapshot;         // the last one, which the target has
    bool start = true;
    bool autostart = false;                // what the operator had set
    std::vector<std::string> accept = {};  // obstacles, by key
};

struct OwnershipNote {
    VmId vm;
    model::Ownership ownership;
    std::vector<ClusterId> holders = {};  // other clusters that have snapshots of the VM
};

struct LinkStats {
    std::uint64_t delivery_rate_bytes = 0;  // per second; 0: unknown
    bool app_limited = true;                // the rate was bounded by us, not by the link
    bool receiver_limited = false;
};

// One connection for chunks of one transfer. One thread at a time.
class ChunkChannel {
public:
    virtual ~ChunkChannel() = default;
    virtual Result<> send(const model::Chunk&) = 0;  // may block; does not keep the payload
    // The newest acknowledgement that has arrived, if any. Does not block. If the target reported
    // an error, the channel is over, and this call or send gives that error.
    virtual Result<std::optional<model::Ack>> poll_ack() = 0;
    // Asks the target to make everything sent so far on all channels durable.
    virtual Result<> request_flush() = 0;
    virtual LinkStats stats() = 0;
    virtual std::uint64_t wire_bytes() = 0;  // sent so far, framing included
};

// How this cluster talks to one peer. Thread-safe. Every call may fail with unavailable. The peer
// may have carried it out all the same, so all calls are idempotent and may be repeated.
class PeerLink {
public:
    virtual ~PeerLink() = default;
    virtual Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) = 0;
    virtual Result<std::vector<OwnershipNote>> exchange_ownership(
        const std::vector<OwnershipNote>& ours) = 0;  // the peer's view of VMs shared with us
    // Answered from the peer's record alone; its hypervisor is not asked, because it may be in the
    // middle of a start that waits for this answer.
    virtual Result<PeerVm> look_up(const VmId&) = 0;
    virtual Result<PeerVm> look_up_state(const VmId&) = 0;  // with state and trouble
    virtual Result<model::TransferOffer> offer(const model::TransferRequest&) = 0;
    // Opens one channel of an attempt. The first one begins the attempt, at the durable point of
    // the latest offer. That offer has ended earlier attempts, so their channels are dead.
    virtual Result<std::unique_ptr<ChunkChannel>> open_channel(const TransferId&,
                                                               std::uint64_t attempt) = 0;
    // Publishes the snapshot if `totals` equals what the target counted in this attempt.
    virtual Result<std::vector<model::ReadinessIssue>> commit(const TransferId&,
                                                              std::uint64_t attempt,
                                                              const model::Totals& totals) = 0;
    virtual Result<> abandon(const TransferId&) = 0;  // removes what was received
    // Both give the target's record of the VM after the call, for engine::after_answer. hand_over:
    // an error other than unavailable says why the target refuses this time; a later call may
    // succeed. take_back: forces the decision; if the target has not taken the VM, it declines.
    virtual Result<model::Ownership> hand_over(const Handover&) = 0;
    virtual Result<model::Ownership> take_back(const VmId&, const model::Ownership& offered) = 0;

    // The next three may be asked only of a peer with the feature "digests-1". They change nothing
    // there.
    // Digests of a snapshot that the two share. not_found: it is not there, or this cluster may not
    // ask about it.
    virtual Result<model::DigestAnswer> digests(const model::DigestQuestion&) = 0;
    // Bytes of a snapshot that the peer sent here. corrupt: they do not have the digest that came
    // with them.
    virtual Result<model::RangeAnswer> read_range(const model::RangeQuestion&) = 0;
    // The newest content that the peer has of each of these volumes of a VM, even if its catalog
    // does not know the volume. A volume without content, or of another VM, is left out.
    virtual Result<std::vector<model::VolumeBase>> contents(const VmId&,
                                                            const std::vector<VolumeId>&) = 0;
};

// Gives a link to a peer, made from the peer's record. A link connects when it is first used.
class PeerLinks {
public:
    virtual ~PeerLinks() = default;
    virtual Result<std::shared_ptr<PeerLink>> to(const ClusterId& peer) = 0;
};

}  // namespace understudy::ports
