#pragma once

#include "ports/disk_file.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace understudy::mover {

// Layers of one disk, bottom first, read as one: the topmost layer that knows a place decides. If a
// layer is smaller than those above it, the disk ended there once: what lies behind reads as
// zeroes, whatever is below. A place that no layer knows is read from the base; without a base it
// is zero. One thread.
class LayerStack {
public:
    LayerStack(std::vector<std::unique_ptr<ports::DiskLayer>> layers,
               std::unique_ptr<ports::Reader> base);
    ~LayerStack();
    LayerStack(const LayerStack&) = delete;
    LayerStack& operator=(const LayerStack&) = delete;

    ByteSize size() const { return layers_.back()->size(); }
    // Ascending, to the byte; places that no layer knows are left out. Borrows the stack.
    Result<std::unique_ptr<ports::ExtentStream>> extents();
    // Any place of the disk; fast if the calls ascend.
    Result<> read(ByteOffset offset, std::span<std::byte> into);

private:
    class Finder;
    Result<> read_base(ByteOffset offset, std::span<std::byte> into);

    std::vector<std::unique_ptr<ports::DiskLayer>> layers_;  // never empty
    std::unique_ptr<ports::Reader> base_;
    std::unique_ptr<Finder> reading_;
};

}  // namespace understudy::mover
