#pragma once

#include "model/extent.hpp"
#include "ports/storage.hpp"

#include <deque>
#include <memory>
#include <optional>

namespace understudy::mover {

// To read and send a gap this small costs less than to seek over it and to frame one more chunk.
inline constexpr ByteSize kMergedGap = base::KiB(32);

struct ChunkerOptions {
    bool merge_gaps = false;   // small gaps between data become data; only if all may be sent
    bool drop_zeroes = false;  // zero ranges are left out; only if the target begins as zeroes
};

// Cuts one disk's extents into the ranges that travel: data at multiples of kMaxChunk on the disk,
// zero ranges up to the wire's limit. All lie on the model's grain: data is widened to it, and a
// grain that is only partly zero becomes data. Ascending, without overlap, within the disk. One
// thread; memory independent of the disk.
class Chunker {
public:
    Chunker(std::unique_ptr<ports::ExtentStream> extents, ByteSize disk_size, ByteOffset from,
            ChunkerOptions options);

    Result<std::optional<model::Extent>> next();

private:
    Result<> fill();
    void append(model::ExtentKind kind, std::uint64_t begin, std::uint64_t end);
    std::optional<model::Extent> cut(bool more_may_join);

    std::unique_ptr<ports::ExtentStream> extents_;
    std::uint64_t disk_size_;
    ChunkerOptions options_;
    std::uint64_t cursor_;  // everything below has been taken in
    bool ended_ = false;
    std::deque<model::Extent> aligned_;  // at most a few
    std::optional<model::Extent> run_;   // grows until it is cut
};

}  // namespace understudy::mover
