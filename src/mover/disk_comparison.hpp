#pragma once

#include "mover/block_digests.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <vector>

namespace understudy::mover {

// A range in which the two sides of a comparison are not known to be the same.
struct Difference {
    enum class Kind {
        differs,
        differs_zero_here,  // and here there are only zeroes
        unreadable_here,
        unreadable_there,
    };
    model::ByteRange range;  // on the 4 KiB grid, but for the disk's end
    Kind kind = Kind::differs;
};

// Finds where a frozen disk here differs from one elsewhere by digests of blocks: large ones first,
// smaller ones only inside of those that differ, down to 4 KiB. Each side reads what it has
// allocated once, and what differs up to three times. Memory, and what a call asks for, are bounded
// whatever the disk. One thread.
class DiskComparison {
public:
    // Asks the other side about the ranges' blocks, in order. It answers for as many of them as it
    // does at once.
    using Ask = std::function<Result<model::DigestAnswer>(
        ByteSize block, const std::vector<model::ByteRange>& ranges)>;

    // `here` and what `ask` refers to outlive it.
    DiskComparison(BlockDigests& here, Ask ask, ByteSize size, ByteOffset from);

    // The next differing range at or after `from`, ascending; nothing at the end of the disk.
    Result<std::optional<Difference>> next();
    ByteOffset looked_at() const { return at_; }  // how far, in large blocks
    const std::string& failure_there() const { return failure_there_; }

private:
    using Kind = Difference::Kind;
    struct Block {
        ByteOffset at;
        Kind kind;
    };

    Result<> look_ahead();
    Result<> refine_some();
    // The differing blocks among those of `ranges` that both sides looked at; `done` is how many.
    Result<std::vector<Block>> differing(const std::vector<model::ByteRange>& ranges,
                                         ByteSize block, std::size_t& done);
    Result<std::vector<Block>> all_differing(std::vector<model::ByteRange> ranges, ByteSize block);
    void found(const Block& block, ByteSize length);

    BlockDigests& here_;
    const Ask ask_;
    const ByteSize size_;
    const ByteOffset from_;
    ByteOffset at_;                     // how far the large blocks were looked at
    std::deque<ByteOffset> unrefined_;  // large blocks that differ
    std::deque<Difference> found_;
    std::string failure_there_;
};

// How much is looked at in one call, by either side.
inline constexpr DigestLimits kDigestsPerCall{8192, base::MiB(256)};

}  // namespace understudy::mover
