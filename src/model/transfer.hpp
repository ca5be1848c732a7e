#pragma once

#include "model/extent.hpp"
#include "model/proof.hpp"
#include "model/snapshot.hpp"
#include "model/vm.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace understudy::model {

// How far a transfer is durable at the target: every change of the disks before `disk`, and every
// change of `disk` below `offset`. Changes travel in ascending order of (disk, offset), so this one
// point is all that a resume needs, whatever chunks they were cut into.
struct DurablePoint {
    std::uint32_t disk = 0;
    ByteOffset offset;
    auto operator<=>(const DurablePoint&) const = default;
};

// What a source asks of a target before any byte moves.
struct TransferRequest {
    VmId vm;
    std::string vm_name;
    Ownership ownership;
    Snapshot snapshot;  // the disks in the order in which they travel; pools are the source's
    Definition definition;
    std::optional<SnapshotId> base;
    // For a resync, which has no common base: what each disk is built on at the target. That may be
    // content that no snapshot there lists any more. A disk that is not named here travels whole.
    std::vector<VolumeBase> resync = {};
    std::vector<ClusterId> holders = {};  // other clusters that have snapshots of the VM
};

// The receiver's durable record of one send, over all its attempts.
struct Transfer {
    TransferId id;
    ClusterId source;
    TransferRequest request;  // request.snapshot.disks name this cluster's pools here
    DurablePoint durable;
    ByteSize received;  // payload on the wire over all attempts
    TimePoint created;
    TimePoint updated;
};

// The target's answer to a TransferRequest.
struct TransferOffer {
    TransferId id;
    DurablePoint durable;   // where to go on
    bool complete = false;  // the snapshot is already published there
    std::vector<ReadinessIssue> readiness;
};

enum class Codec : std::uint8_t { none = 0, lz4 = 1, zstd = 2 };

using Digest = std::array<std::byte, 16>;  // XXH3-128, canonical (big-endian) form

// One piece of one disk on its way. `payload` is borrowed from whoever made the chunk.
struct Chunk {
    std::uint64_t sequence = 0;  // 0, 1, 2 … within one attempt, in order of (disk, offset)
    std::uint32_t disk = 0;      // index into the request's disks
    ByteOffset offset;
    ByteSize length;  // of the content: at most kMaxChunk for data
    ExtentKind kind = ExtentKind::data;
    Codec codec = Codec::none;
    Digest digest{};                     // of the uncompressed content; all zeroes for kind zero
    std::span<const std::byte> payload;  // compressed content; empty for kind zero
};

inline constexpr ByteSize kMaxChunk = base::MiB(1);

// What both sides count in one attempt, and compare.
struct Totals {
    std::uint64_t chunks = 0;
    std::uint64_t bytes = 0;        // of content, zero ranges included
    std::uint64_t digest_high = 0;  // sums of chunk fingerprints, independent of their order
    std::uint64_t digest_low = 0;
    bool operator==(const Totals&) const = default;
};

// Says that chunks 0 … totals.chunks-1 of this attempt are durable, with what the target counted up
// to there. The source compares that with its own count.
struct Ack {
    Totals totals;
    DurablePoint durable;
};

}  // namespace understudy::model
