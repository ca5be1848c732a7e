#pragma once

#include "model/transfer.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

namespace understudy::mover {

// The buffers and codec contexts of one thread, made when first needed and used again for every
// chunk: at most 2 MiB of buffers and about 2 MiB of contexts. Not thread-safe.
class Workspace {
public:
    Workspace();
    ~Workspace();
    Workspace(Workspace&&) noexcept;
    Workspace& operator=(Workspace&&) noexcept;

    // Room for one chunk's content, aligned to a page; the same bytes at every call.
    std::span<std::byte> content();

    // The compressed form, in this workspace until the next call. Nothing if it would not be at
    // least 5 % smaller: then the content travels as it is. lz4 with acceleration 8, zstd at level
    // 1.
    std::optional<std::span<const std::byte>> compress(model::Codec codec,
                                                       std::span<const std::byte> content);

    // The content of `length` (at most kMaxChunk) bytes: the payload itself for none, else in
    // content(). corrupt when the payload is not exactly that much content.
    Result<std::span<const std::byte>> decompress(model::Codec codec,
                                                  std::span<const std::byte> payload,
                                                  ByteSize length);

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace understudy::mover
