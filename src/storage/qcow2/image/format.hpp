#pragma once

#include <endian.h>
#include <cstdint>
#include <cstring>

// The qcow2 file format as QEMU's docs/interop/qcow2.txt specifies it. All integers on disk are
// big-endian.
namespace understudy::qcow2 {

inline constexpr std::uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

// Places in the header, in bytes.
inline constexpr std::size_t kVersionAt = 4;
inline constexpr std::size_t kBackingOffsetAt = 8;
inline constexpr std::size_t kBackingLengthAt = 16;
inline constexpr std::size_t kClusterBitsAt = 20;
inline constexpr std::size_t kSizeAt = 24;
inline constexpr std::size_t kCryptAt = 32;
inline constexpr std::size_t kL1EntriesAt = 36;
inline constexpr std::size_t kL1OffsetAt = 40;
inline constexpr std::size_t kRefcountTableOffsetAt = 48;
inline constexpr std::size_t kRefcountTableClustersAt = 56;
inline constexpr std::size_t kSnapshotCountAt = 60;
inline constexpr std::size_t kIncompatibleAt = 72;  // from here on: version 3
inline constexpr std::size_t kCompatibleAt = 80;
inline constexpr std::size_t kRefcountOrderAt = 96;
inline constexpr std::size_t kHeaderLengthAt = 100;
inline constexpr std::size_t kCompressionAt = 104;

inline constexpr std::size_t kHeaderLengthV2 = 72;
inline constexpr std::size_t kHeaderLengthV3 = 104;
inline constexpr std::size_t kHeaderLengthWritten =
    112;  // with the compression type, as QEMU ≥ 5.1

inline constexpr std::uint64_t kDirtyBit = 1U << 0;
inline constexpr std::uint64_t kCorruptBit = 1U << 1;
inline constexpr std::uint64_t kExternalDataBit = 1U << 2;
inline constexpr std::uint64_t kCompressionBit = 1U << 3;
inline constexpr std::uint64_t kExtendedL2Bit = 1U << 4;
inline constexpr std::uint64_t kKnownIncompatible = 0x1f;
inline constexpr std::uint64_t kLazyRefcountsBit = 1U << 0;  // compatible

inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionBackingFormat = 0xe2792aca;

inline constexpr std::uint64_t kMaxL1Bytes = 32U << 20;   // QEMU's own limit
inline constexpr std::uint64_t kMaxBackingLength = 1023;  // the format's limit
inline constexpr std::uint32_t kSubclusters = 32;

// L1 and L2 entries.
inline constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;
inline constexpr std::uint64_t kCopiedFlag = 1ULL << 63;  // refcount is exactly one
inline constexpr std::uint64_t kCompressedFlag = 1ULL << 62;
inline constexpr std::uint64_t kZeroFlag = 1;  // not with extended L2

inline std::uint32_t load_be32(const void* at) {
    std::uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return be32toh(value);
}
inline std::uint64_t load_be64(const void* at) {
    std::uint64_t value;
    std::memcpy(&value, at, sizeof value);
    return be64toh(value);
}
inline void store_be32(void* at, std::uint32_t value) {
    value = htobe32(value);
    std::memcpy(at, &value, sizeof value);
}
inline void store_be64(void* at, std::uint64_t value) {
    value = htobe64(value);
    std::memcpy(at, &value, sizeof value);
}

inline constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
    return value / by + (value % by != 0 ? 1 : 0);
}
inline constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t grid) {
    return value - value % grid;
}
inline constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t grid) {
    return divide_up(value, grid) * grid;
}

}  // namespace understudy::qcow2
