#include "storage/memory/content.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

// Blocks of one layer, and what a stack of layers shows: for each block the topmost layer that
// knows it decides, and nothing below a layer shows beyond that layer's own end. ViewStream lists
// what the first `layers` layers know, in extents of at most 64 MiB. Pure: no I/O and no lock. A
// view never changes, because a layer's content is copied before a change while a view holds it.

namespace understudy::memory {
namespace {

constexpr std::uint64_t kMaxExtentBytes = 64 << 20;

// The block as the topmost of the first `layers` layers that knows it has it. Beyond a layer's own
// end nothing below it shows.
const std::shared_ptr<const Block>* find_block(const View& view, std::size_t layers,
                                               std::uint64_t number) {
    for (std::size_t i = 0; i < layers; ++i) {
        if (number * kBlockBytes >= view[i].size.count()) return nullptr;
        const auto found = view[i].content->blocks.find(number);
        if (found != view[i].content->blocks.end()) return &found->second;
    }
    return nullptr;
}

class ViewStream : public ports::ExtentStream {
public:
    ViewStream(View view, std::size_t layers, std::uint64_t from, bool with_zeroes)
        : view_(std::move(view)),
          layers_(layers),
          next_(from / kBlockBytes),
          with_zeroes_(with_zeroes) {}

    Result<std::optional<model::Extent>> next() override {
        std::optional<model::Extent> extent;
        while (const auto number = known_from(next_)) {
            const auto* block = find_block(view_, layers_, *number);
            const bool zero = block && !*block;
            if (!block || (zero && !with_zeroes_)) {
                if (extent) break;
                next_ = *number + 1;
                continue;
            }
            const auto kind = zero ? model::ExtentKind::zero : model::ExtentKind::data;
            const auto at = *number * kBlockBytes;
            const auto length = std::min(kBlockBytes, view_.front().size.count() - at);
            if (!extent)
                extent = model::Extent{ByteOffset(at), ByteSize(length), kind};
            else if (extent->kind == kind && extent->end().count() == at &&
                     extent->length.count() < kMaxExtentBytes)
                extent->length += ByteSize(length);
            else
                break;
            next_ = *number + 1;
        }
        return extent;
    }

private:
    // The first block number at or after `number` that some layer knows, within the disk.
    std::optional<std::uint64_t> known_from(std::uint64_t number) const {
        std::optional<std::uint64_t> first;
        for (std::size_t i = 0; i < layers_; ++i) {
            const auto& blocks = view_[i].content->blocks;
            const auto found = blocks.lower_bound(number);
            if (found != blocks.end() && (!first || found->first < *first)) first = found->first;
        }
        if (first && *first * kBlockBytes >= view_.front().size.count()) return std::nullopt;
        return first;
    }

    const View view_;
    const std::size_t layers_;
    std::uint64_t next_;
    const bool with_zeroes_;
};

}  // namespace

void Content::set(std::uint64_t number, std::shared_ptr<const Block> block) {
    auto& place = blocks[number];
    if (place) --data_blocks;
    if (block) ++data_blocks;
    place = std::move(block);
}

void Content::put_on_top(const Content& upper) {
    for (const auto& [number, block] : upper.blocks) set(number, block);
}

void Content::cut(ByteSize size) {
    const auto first_gone = (size.count() + kBlockBytes - 1) / kBlockBytes;
    while (!blocks.empty() && blocks.rbegin()->first >= first_gone) {
        if (blocks.rbegin()->second) --data_blocks;
        blocks.erase(std::prev(blocks.end()));
    }
    const auto tail = size.count() % kBlockBytes;
    const auto last = blocks.find(size.count() / kBlockBytes);
    if (tail == 0 || last == blocks.end() || !last->second) return;
    auto cut_block = std::make_shared<Block>(*last->second);
    std::fill(cut_block->begin() + static_cast<std::ptrdiff_t>(tail), cut_block->end(),
              std::byte{0});
    last->second = std::move(cut_block);
}

void read_view(const View& view, ByteOffset offset, std::span<std::byte> into) {
    auto at = offset.count();
    while (!into.empty()) {
        const auto within = at % kBlockBytes;
        const auto length = std::min<std::uint64_t>(into.size(), kBlockBytes - within);
        const auto* block = find_block(view, view.size(), at / kBlockBytes);
        if (block && *block)
            std::memcpy(into.data(), (*block)->data() + within, length);
        else
            std::memset(into.data(), 0, length);
        into = into.subspan(length);
        at += length;
    }
}

std::unique_ptr<ports::ExtentStream> view_extents(View view, std::size_t layers, ByteOffset from,
                                                  bool with_zeroes) {
    return std::make_unique<ViewStream>(std::move(view), layers, from.count(), with_zeroes);
}

}  // namespace understudy::memory
