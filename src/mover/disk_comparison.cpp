#include "mover/disk_comparison.hpp"

#include <algorithm>
#include <utility>

// Finds where a frozen disk here differs from one elsewhere. look_ahead() compares digests of 4 MiB
// blocks, up to 8192 in a call. refine_some() takes 16 blocks that differ, compares them in blocks
// of 64 KiB and then of 4 KiB, and found() joins neighbours. What one side cannot read is not
// looked at in smaller blocks. The peer's answers are checked for their number. Memory does not
// depend on the disk; one thread. Nothing is kept: the caller notes how far it came.

namespace understudy::mover {
namespace {

constexpr ByteSize kLarge = model::kLargestBlock;
constexpr ByteSize kMiddle = base::KiB(64);
constexpr ByteSize kSmall = model::kSmallestBlock;
constexpr ByteSize kLongest = base::MiB(64);  // neighbours become one up to about that
// Large blocks that are refined at a time. What they can turn into is held in memory.
constexpr std::size_t kRefined = 16;

ByteOffset aligned_down(ByteOffset at, ByteSize block) {
    return ByteOffset(at.count() / block.count() * block.count());
}

// Takes the first `count` blocks off.
void drop_blocks(std::vector<model::ByteRange>& ranges, std::size_t count, ByteSize block) {
    while (count > 0 && !ranges.empty()) {
        auto& first = ranges.front();
        const auto held = first.length.count() / block.count();
        const auto taken = std::min<std::uint64_t>(held, count);
        const ByteSize length(taken * block.count());
        first.offset = first.offset + length;
        first.length -= length;
        count -= taken;
        if (first.length.count() == 0) ranges.erase(ranges.begin());
    }
}

std::size_t count_blocks(const std::vector<model::ByteRange>& ranges, ByteSize block) {
    std::size_t count = 0;
    for (const auto& range : ranges) count += range.length.count() / block.count();
    return count;
}

void add_range(std::vector<model::ByteRange>& ranges, const model::ByteRange& range) {
    if (!ranges.empty() && ranges.back().end() == range.offset)
        ranges.back().length += range.length;
    else
        ranges.push_back(range);
}

}  // namespace

DiskComparison::DiskComparison(BlockDigests& here, Ask ask, ByteSize size, ByteOffset from)
    : here_(here),
      ask_(std::move(ask)),
      size_(size),
      from_(from),
      at_(aligned_down(from, kLarge)) {}

Result<std::optional<Difference>> DiskComparison::next() {
    // The first one is whole once a second one, or the end of the disk, is found: neighbours become
    // one.
    const auto whole = [&] {
        return found_.size() > 1 || (!found_.empty() && found_.front().range.length >= kLongest);
    };
    while (!whole()) {
        if (!unrefined_.empty())
            UNDERSTUDY_TRY(refine_some());
        else if (at_ < ByteOffset(size_.count()))
            UNDERSTUDY_TRY(look_ahead());
        else
            break;
    }
    if (found_.empty()) return std::nullopt;
    auto first = found_.front();
    found_.pop_front();
    return first;
}

Result<> DiskComparison::look_ahead() {
    const auto left = ByteOffset(size_.count()) - at_;
    const auto blocks = std::min<std::uint64_t>(
        (left.count() + kLarge.count() - 1) / kLarge.count(), kDigestsPerCall.blocks);
    std::size_t done = 0;
    auto differ =
        UNDERSTUDY_VALUE(differing({{at_, ByteSize(blocks * kLarge.count())}}, kLarge, done));
    for (const auto& block : differ) unrefined_.push_back(block.at);
    at_ = at_ + ByteSize(done * kLarge.count());
    return {};
}

Result<> DiskComparison::refine_some() {
    std::vector<model::ByteRange> ranges;
    const ByteOffset end(size_.count());
    for (std::size_t i = 0; i < kRefined && !unrefined_.empty(); ++i) {
        auto begin = unrefined_.front();
        unrefined_.pop_front();
        const auto middle_end = aligned_down(
            ByteOffset(std::min(begin + kLarge, end).count() + kMiddle.count() - 1), kMiddle);
        begin = std::max(begin, aligned_down(from_, kMiddle));
        if (begin < middle_end) add_range(ranges, {begin, middle_end - begin});
    }
    auto middle = UNDERSTUDY_VALUE(all_differing(std::move(ranges), kMiddle));
    // What one side cannot read is not looked at in smaller pieces: each of them may take its time
    // to fail.
    std::vector<model::ByteRange> smaller;
    for (const auto& block : middle)
        if (block.kind == Kind::differs || block.kind == Kind::differs_zero_here) {
            const auto small_end = aligned_down(
                ByteOffset(std::min(block.at + kMiddle, end).count() + kSmall.count() - 1), kSmall);
            add_range(smaller, {block.at, small_end - block.at});
        }
    auto small = UNDERSTUDY_VALUE(all_differing(std::move(smaller), kSmall));
    auto next = small.begin();
    const auto tell_up_to = [&](ByteOffset at) {
        for (; next != small.end() && next->at < at; ++next) found(*next, kSmall);
    };
    for (const auto& block : middle) {
        tell_up_to(block.at);
        if (block.kind == Kind::unreadable_here || block.kind == Kind::unreadable_there)
            found(block, kMiddle);
    }
    tell_up_to(end);
    return {};
}

Result<std::vector<DiskComparison::Block>> DiskComparison::all_differing(
    std::vector<model::ByteRange> ranges, ByteSize block) {
    std::vector<Block> all;
    while (!ranges.empty()) {
        std::size_t done = 0;
        auto some = differing(ranges, block, done);
        if (!some) return some;
        all.insert(all.end(), some->begin(), some->end());
        drop_blocks(ranges, done, block);
    }
    return all;
}

Result<std::vector<DiskComparison::Block>> DiskComparison::differing(
    const std::vector<model::ByteRange>& ranges, ByteSize block, std::size_t& done) {
    using Digest = model::BlockDigest::Kind;
    auto there = UNDERSTUDY_VALUE(ask_(block, ranges));
    if (failure_there_.empty()) failure_there_ = there.failure;
    const auto asked = count_blocks(ranges, block);
    if (there.blocks.empty() || there.blocks.size() > asked)
        return fail(ErrorKind::invalid, "the peer answers with digests of no or too many blocks");
    auto here = UNDERSTUDY_VALUE(
        here_.of(ranges, block, {there.blocks.size(), ByteSize(~std::uint64_t{0})}));
    std::vector<Block> blocks;
    for (const auto& range : ranges)
        for (auto at = range.offset; at < range.end() && done < here.size(); at = at + block) {
            const auto& ours = here[done];
            const auto& theirs = there.blocks[done++];
            if (ours.kind == Digest::unreadable)
                blocks.push_back({at, Kind::unreadable_here});
            else if (theirs.kind == Digest::unreadable)
                blocks.push_back({at, Kind::unreadable_there});
            else if (ours != theirs)
                blocks.push_back(
                    {at, ours.kind == Digest::zero ? Kind::differs_zero_here : Kind::differs});
        }
    return blocks;
}

void DiskComparison::found(const Block& block, ByteSize length) {
    const ByteOffset end(size_.count());
    const auto from = std::max(block.at, from_);
    const auto to = std::min(block.at + length, end);
    if (from >= to) return;
    if (!found_.empty() && found_.back().kind == block.kind && found_.back().range.end() == from)
        found_.back().range.length += to - from;
    else
        found_.push_back({{from, to - from}, block.kind});
}

}  // namespace understudy::mover
