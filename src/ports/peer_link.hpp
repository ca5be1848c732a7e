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
    // look_up_state of a VM that it owns: what its hypervisor says: "running", "paused", "stopped"
    // or "undefined"; else empty.
    std::string state = {};
    std::string trouble = {};  // why it could not be started there after it was handed over
};

// A VM that its owner gives away.
struct Handover {
    VmId vm;
    model::Ownership ownership;  // as the source has recorded it: the target's, the next epoch
    SnapshotId snapshot;         // the last one: the target has it
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
    virtual Result<> send(const model::Chunk&) = 0;  // may block; the payload is free afterwards
    // The newest acknowledgement that has arrived, if any; does not block. An error that the
    // target reported ends the channel and comes back from here or from send.
    virtual Result<std::optional<model::Ack>> poll_ack() = 0;
    // Asks the target to make everything sent so far on all channels durable.
    virtual Result<> request_flush() = 0;
    virtual LinkStats stats() = 0;
    virtual std::uint64_t wire_bytes() = 0;  // sent so far, framing included
};

// How this cluster talks to one peer. Thread-safe; every call may fail with unavailable, and then
// it may or may not have happened there: all calls are idempotent.
class PeerLink {
public:
    virtual ~PeerLink() = default;
    virtual Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) = 0;
    virtual Result<std::vector<OwnershipNote>> exchange_ownership(
        const std::vector<OwnershipNote>& ours) = 0;  // the peer's view of VMs shared with us
    // From its record alone: no hypervisor is asked, which may be waiting for this very answer.
    virtual Result<PeerVm> look_up(const VmId&) = 0;
    virtual Result<PeerVm> look_up_state(const VmId&) = 0;  // with state and trouble
    virtual Result<model::TransferOffer> offer(const model::TransferRequest&) = 0;
    // Begins a new attempt at the durable point of the latest offer; earlier channels are dead.
    virtual Result<std::unique_ptr<ChunkChannel>> open_channel(const TransferId&,
                                                               std::uint64_t attempt) = 0;
    // Publishes the snapshot when `totals` equals what the target counted in this attempt.
    virtual Result<std::vector<model::ReadinessIssue>> commit(const TransferId&,
                                                              std::uint64_t attempt,
                                                              const model::Totals& totals) = 0;
    virtual Result<> abandon(const TransferId&) = 0;  // removes what was received
    // Both answer with the target's record afterwards, for engine::after_answer. hand_over: an
    // error other than unavailable says why it does not take the VM now; it may still when asked
    // again. take_back: it decides now, and declines what it has not taken.
    virtual Result<model::Ownership> hand_over(const Handover&) = 0;
    virtual Result<model::Ownership> take_back(const VmId&, const model::Ownership& offered) = 0;

    // Only of a peer with the feature "digests-1"; all three change nothing there.
    // Digests of a snapshot that the two share. not_found: it is not there, or none of our
    // business.
    virtual Result<model::DigestAnswer> digests(const model::DigestQuestion&) = 0;
    // Bytes of a snapshot that the peer sent here. corrupt: they are not what its digest says.
    virtual Result<model::RangeAnswer> read_range(const model::RangeQuestion&) = 0;
    // The newest content that the peer has of these volumes of a VM, also where its catalog knows
    // nothing of them; volumes without any, and those of others, are left out.
    virtual Result<std::vector<model::VolumeBase>> contents(const VmId&,
                                                            const std::vector<VolumeId>&) = 0;
};

// Makes links by the peer's record; a link connects when first used.
class PeerLinks {
public:
    virtual ~PeerLinks() = default;
    virtual Result<std::shared_ptr<PeerLink>> to(const ClusterId& peer) = 0;
};

}  // namespace understudy::ports
