#pragma once

#include "base/units.hpp"

namespace understudy::model {

enum class ExtentKind {
    data,  // content to be read from the volume
    zero,  // reads as zeroes (trimmed, zeroed or never written)
};

// A run of bytes of one disk. Extents of one listing ascend and do not overlap.
struct Extent {
    ByteOffset offset;
    ByteSize length;
    ExtentKind kind = ExtentKind::data;

    ByteOffset end() const { return offset + length; }
    bool operator==(const Extent&) const = default;
};

// Changes travel on this grid: offsets are multiples of it, lengths too except at a disk's end.
// 4 KiB is what the qcow2 layers can tell apart (extended L2, 128 KiB clusters, 32 subclusters).
inline constexpr ByteSize kGrain = base::KiB(4);

}  // namespace understudy::model
