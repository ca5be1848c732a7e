#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "ports/storage.hpp"
#include "storage/qcow2/image/header.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace understudy::qcow2 {

struct ChainState;

enum class Zeroes { listed, left_out };

// A frozen image and everything below it, read without QEMU. No file of the chain may be written
// to while it is open here. Memory is bounded whatever the disk's size. Thread-safe.
class LayerChain {
public:
    // Opens top_path and follows its backing files. Each layer's format is the one that the layer
    // above states; unsupported: a layer that does not state it. corrupt: a loop, or more than 256
    // layers. Files are opened read-only.
    static Result<std::unique_ptr<LayerChain>> open(const std::string& top_path,
                                                    const std::string& top_format);
    // One file by itself: its backing file is not looked at, and what the file leaves out reads as
    // zeroes. If it has a backing file, extents() lists its zeroes, as if there were layers below
    // it.
    static Result<std::unique_ptr<LayerChain>> open_alone(const std::string& path,
                                                          const std::string& format);
    ~LayerChain();
    LayerChain(const LayerChain&) = delete;
    LayerChain& operator=(const LayerChain&) = delete;

    ByteSize size() const;  // of the top layer, which is the disk's
    std::size_t depth() const;
    const std::string& path_of(std::size_t layer) const;  // 0 = top
    const ImageInfo& info_of(std::size_t layer) const;

    // Fills `into`; the range lies within size(). Ranges allocated nowhere read as zeroes.
    Result<> read(ByteOffset offset, std::span<std::byte> into) const;
    // Asks the kernel to read the range's bytes ahead. May read L2 tables; never fails.
    void prefetch(ByteOffset offset, ByteSize length) const;

    // What the first `layers` layers hold at or after `from`, ascending, neighbours merged up to 1
    // GiB, on the grid of model::kGrain clipped to the disk's end. The topmost of those layers that
    // knows a range decides between data and zero. A range that none of them knows is left out.
    // With Zeroes::left_out (a listing without a base) or layers == depth(), zeroes are left out,
    // too. The stream keeps the files open itself and may outlive the chain.
    std::unique_ptr<ports::ExtentStream> extents(std::size_t layers, ByteOffset from,
                                                 Zeroes zeroes) const;

private:
    explicit LayerChain(std::shared_ptr<const ChainState> state);
    std::shared_ptr<const ChainState> state_;
};

}  // namespace understudy::qcow2
