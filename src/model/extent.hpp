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

// Changes travel on this grid: offsets and lengths are multiples of it, except for a length at a
// disk's end. 4 KiB is the smallest unit of the qcow2 layers (extended L2, 128 KiB clusters, 32
// subclusters).
inline constexpr ByteSize kGrain = base::KiB(4);

}  // namespace understudy::model
