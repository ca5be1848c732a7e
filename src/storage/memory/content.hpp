#pragma once

#include "base/units.hpp"
#include "model/extent.hpp"
#include "ports/storage.hpp"

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace understudy::memory {

inline constexpr std::uint64_t kBlockBytes = model::kGrain.count();
using Block = std::array<std::byte, kBlockBytes>;

// What one layer knows, by block number. A null block reads as zeroes whatever is below; a block
// that is not there shows what is below. Bytes beyond a disk's end are zero.
struct Content {
    std::map<std::uint64_t, std::shared_ptr<const Block>> blocks;
    std::uint64_t data_blocks = 0;  // those that take room

    void set(std::uint64_t number, std::shared_ptr<const Block> block);
    void put_on_top(const Content& upper);
    void cut(ByteSize size);  // forgets what lies beyond
};

// One layer of a frozen view; `size` is its own virtual size. The content does not change while
// anybody else holds it.
struct ViewLayer {
    std::shared_ptr<const Content> content;
    ByteSize size;
};
using View = std::vector<ViewLayer>;  // top first

// The range lies within the top layer's size.
void read_view(const View& view, ByteOffset offset, std::span<std::byte> into);

// As StoragePool::changes for the first `layers` layers of the view.
std::unique_ptr<ports::ExtentStream> view_extents(View view, std::size_t layers, ByteOffset from,
                                                  bool with_zeroes);

}  // namespace understudy::memory
