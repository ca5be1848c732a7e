#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// The questions and answers by which two clusters find out where their copies of a disk differ.
namespace understudy::model {

using Sha256 = std::array<std::byte, 32>;

// One block of a frozen disk. What is beyond the disk's end counts as zeroes, so that disks of
// different sizes can be compared.
struct BlockDigest {
    enum class Kind : std::uint8_t { zero = 0, data = 1, unreadable = 2 };
    Kind kind = Kind::zero;
    Sha256 digest{};  // of the whole block; all zeroes unless kind is data
    bool operator==(const BlockDigest&) const = default;
};

struct ByteRange {
    ByteOffset offset;
    ByteSize length;
    ByteOffset end() const { return offset + length; }
    bool operator==(const ByteRange&) const = default;
};

struct DigestQuestion {
    VmId vm;
    SnapshotId snapshot;
    VolumeId volume;
    ByteSize block;                 // a power of two, kSmallestBlock to kLargestBlock
    std::vector<ByteRange> ranges;  // ascending, of whole blocks, without overlap
    bool operator==(const DigestQuestion&) const = default;
};
inline constexpr ByteSize kSmallestBlock = base::KiB(4);
inline constexpr ByteSize kLargestBlock = base::MiB(4);

// Answers for the first blocks of the question: at least one, and as many as one answer has room
// and time for.
struct DigestAnswer {
    std::vector<BlockDigest> blocks;
    std::string failure;           // why the first unreadable block is so; empty: all were read
    std::uint64_t wire_bytes = 0;  // of question and answer; only the asking side sets it
};

struct RangeQuestion {
    VmId vm;
    SnapshotId snapshot;
    VolumeId volume;
    ByteOffset offset;
    ByteSize length;  // at most kMaxChunk
    bool operator==(const RangeQuestion&) const = default;
};

struct RangeAnswer {
    std::string bytes;             // exactly the range, checked against its digest
    std::uint64_t wire_bytes = 0;  // as of DigestAnswer
};

// The newest content that a cluster has of a volume. A send can be built on it.
struct VolumeBase {
    VolumeId volume;
    SnapshotId snapshot;
    bool operator==(const VolumeBase&) const = default;
};

// A range in which a replica's disk differs from its source's, or could not be compared.
struct DiskRange {
    std::string target;
    ByteOffset offset;
    ByteSize length;
    std::string why;  // what could not be read; empty: it differs
    bool operator==(const DiskRange&) const = default;
};

// The outcome of the latest comparison of one snapshot with its source.
struct Verification {
    VmId vm;
    SnapshotId snapshot;
    ClusterId source;
    TimePoint ended;
    bool equal = false;
    ByteSize compared;   // of all disks' sizes
    ByteSize differing;  // of all ranges, also of those that are not listed
    std::uint64_t ranges_found = 0;
    std::vector<DiskRange> ranges;  // the first kMaxListedRanges of them
    bool operator==(const Verification&) const = default;
};
inline constexpr std::size_t kMaxListedRanges = 64;

}  // namespace understudy::model
