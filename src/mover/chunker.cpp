#include "mover/chunker.hpp"

#include "model/transfer.hpp"
#include "protocol/limits.hpp"

#include <fmt/format.h>

#include <algorithm>

// Cuts one disk's extents into what travels. fill() takes the next extent and puts it on the grid
// of model::kGrain, next() joins neighbours of one kind to a run, cut() takes pieces off: data at
// multiples of kMaxChunk on the disk, zeroes up to kMaxZeroRange. Pure but for the extent stream
// that it reads. Memory: a few extents and one run, whatever the disk.

namespace understudy::mover {
namespace {

using model::Extent;
using model::ExtentKind;

constexpr std::uint64_t kGrain = model::kGrain.count();
constexpr std::uint64_t kChunk = model::kMaxChunk.count();
constexpr std::uint64_t kZeroLimit = protocol::kMaxZeroRange.count();

constexpr std::uint64_t grain_floor(std::uint64_t at) {
    return at / kGrain * kGrain;
}
constexpr std::uint64_t grain_ceiling(std::uint64_t at) {
    return grain_floor(at + kGrain - 1);
}

}  // namespace

Chunker::Chunker(std::unique_ptr<ports::ExtentStream> extents, ByteSize disk_size, ByteOffset from,
                 ChunkerOptions options)
    : extents_(std::move(extents)),
      disk_size_(disk_size.count()),
      options_(options),
      cursor_(from.count() >= disk_size_ ? disk_size_ : grain_floor(from.count())) {}

void Chunker::append(ExtentKind kind, std::uint64_t begin, std::uint64_t end) {
    begin = std::max(begin, cursor_);
    end = std::min(end, disk_size_);
    if (begin >= end) return;
    cursor_ = end;
    if (kind == ExtentKind::zero && options_.drop_zeroes) return;
    aligned_.push_back({ByteOffset(begin), ByteSize(end - begin), kind});
}

Result<> Chunker::fill() {
    while (aligned_.empty() && !ended_) {
        auto extent = UNDERSTUDY_VALUE(extents_->next());
        if (!extent) {
            ended_ = true;
            return {};
        }
        const auto begin = extent->offset.count();
        if (begin >= disk_size_ || extent->length.count() == 0) continue;
        const auto end = begin + std::min(extent->length.count(), disk_size_ - begin);
        if (extent->kind == ExtentKind::data) {
            append(ExtentKind::data, grain_floor(begin), grain_ceiling(end));
            continue;
        }
        const auto inner_begin = grain_ceiling(begin);
        const auto inner_end = end == disk_size_ ? end : grain_floor(end);
        if (inner_begin >= inner_end) {
            append(ExtentKind::data, grain_floor(begin), grain_ceiling(end));
            continue;
        }
        append(ExtentKind::data, grain_floor(begin), inner_begin);
        append(ExtentKind::zero, inner_begin, inner_end);
        append(ExtentKind::data, inner_end, grain_ceiling(end));
    }
    return {};
}

std::optional<Extent> Chunker::cut(bool more_may_join) {
    const auto begin = run_->offset.count();
    const auto end = run_->end().count();
    const auto boundary =
        run_->kind == ExtentKind::data ? (begin / kChunk + 1) * kChunk : begin + kZeroLimit;
    if (end < boundary && more_may_join) return std::nullopt;
    const auto piece_end = std::min(end, boundary);
    const Extent piece{run_->offset, ByteSize(piece_end - begin), run_->kind};
    if (piece_end == end)
        run_.reset();
    else
        run_ = Extent{ByteOffset(piece_end), ByteSize(end - piece_end), piece.kind};
    return piece;
}

Result<std::optional<Extent>> Chunker::next() {
    for (;;) {
        UNDERSTUDY_TRY(fill());
        if (!run_) {
            if (aligned_.empty()) return std::nullopt;
            run_ = aligned_.front();
            aligned_.pop_front();
            continue;
        }
        bool joins = false;
        if (!aligned_.empty() && aligned_.front().kind == run_->kind) {
            const auto gap = aligned_.front().offset - run_->end();
            const bool small = options_.merge_gaps && run_->kind == ExtentKind::data;
            joins = gap.count() == 0 || (small && gap <= kMergedGap);
        }
        if (const auto piece = cut(joins)) return piece;
        run_->length = aligned_.front().end() - run_->offset;
        aligned_.pop_front();
    }
}

}  // namespace understudy::mover
