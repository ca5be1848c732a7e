#include "mover/codec.hpp"

#include <fmt/format.h>
#include <lz4.h>
#include <zstd.h>

#include <cstdlib>
#include <string>

// One thread's buffers and codec contexts. compress() and decompress() use the same memory for
// every chunk; it is allocated when it is first needed. A payload from a peer is checked before and
// after it is decompressed: at most one chunk, and exactly as long as its header says. No I/O;
// nothing is kept.

namespace understudy::mover {
namespace {

using model::Codec;

constexpr std::size_t kBuffer = model::kMaxChunk.count();
constexpr int kLz4Acceleration = 8;
constexpr int kZstdLevel = 1;
constexpr std::size_t kPage = 4096;

struct Free {
    void operator()(void* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<std::byte, Free>;

Buffer make_buffer() {
    Buffer buffer(static_cast<std::byte*>(std::aligned_alloc(kPage, kBuffer)));
    UNDERSTUDY_INVARIANT(buffer, "out of memory for a chunk");
    return buffer;
}

}  // namespace

struct Workspace::Parts {
    struct FreeZstd {
        void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
        void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
    };
    Buffer content;
    Buffer packed;
    Buffer lz4_state;
    std::unique_ptr<ZSTD_CCtx, FreeZstd> zstd_out;
    std::unique_ptr<ZSTD_DCtx, FreeZstd> zstd_in;

    // Both return the compressed size, or 0 if it does not fit into `room`.
    std::size_t lz4(std::span<const std::byte> from, std::size_t room) {
        if (!lz4_state)
            lz4_state.reset(
                static_cast<std::byte*>(std::malloc(static_cast<std::size_t>(LZ4_sizeofState()))));
        const auto size = LZ4_compress_fast_extState(
            lz4_state.get(), reinterpret_cast<const char*>(from.data()),
            reinterpret_cast<char*>(packed.get()), static_cast<int>(from.size()),
            static_cast<int>(room), kLz4Acceleration);
        return size > 0 ? static_cast<std::size_t>(size) : 0;
    }

    std::size_t zstd(std::span<const std::byte> from, std::size_t room) {
        if (!zstd_out) zstd_out.reset(ZSTD_createCCtx());
        const auto size = ZSTD_compressCCtx(zstd_out.get(), packed.get(), room, from.data(),
                                            from.size(), kZstdLevel);
        return ZSTD_isError(size) ? 0 : size;
    }
};

Workspace::Workspace() : parts_(std::make_unique<Parts>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;

std::span<std::byte> Workspace::content() {
    if (!parts_->content) parts_->content = make_buffer();
    return {parts_->content.get(), kBuffer};
}

std::optional<std::span<const std::byte>> Workspace::compress(Codec codec,
                                                              std::span<const std::byte> content) {
    if (codec == Codec::none) return std::nullopt;
    UNDERSTUDY_INVARIANT(content.size() <= kBuffer, "a chunk larger than a chunk");
    if (!parts_->packed) parts_->packed = make_buffer();
    const auto room = content.size() - content.size() / 20;
    const auto size =
        codec == Codec::lz4 ? parts_->lz4(content, room) : parts_->zstd(content, room);
    if (size == 0) return std::nullopt;
    return std::span<const std::byte>(parts_->packed.get(), size);
}

Result<std::span<const std::byte>> Workspace::decompress(Codec codec,
                                                         std::span<const std::byte> payload,
                                                         ByteSize length) {
    const auto wrong = [&](std::string_view why) {
        return fail(ErrorKind::corrupt,
                    fmt::format("a {} payload of {} bytes is not {} bytes of content: {}",
                                codec == Codec::none  ? "plain"
                                : codec == Codec::lz4 ? "lz4"
                                                      : "zstd",
                                payload.size(), length.count(), why));
    };
    if (length.count() > kBuffer) return wrong("larger than any chunk");
    const auto size = static_cast<std::size_t>(length.count());
    if (codec == Codec::none) {
        if (payload.size() != size) return wrong("another size");
        return payload;
    }
    if (payload.size() > kBuffer) return wrong("larger than any chunk");
    const auto into = content().first(size);
    if (codec == Codec::lz4) {
        const auto got = LZ4_decompress_safe(
            reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(into.data()),
            static_cast<int>(payload.size()), static_cast<int>(size));
        if (got < 0 || static_cast<std::size_t>(got) != size) return wrong("it is damaged");
        return into;
    }
    if (!parts_->zstd_in) parts_->zstd_in.reset(ZSTD_createDCtx());
    const auto got = ZSTD_decompressDCtx(parts_->zstd_in.get(), into.data(), size, payload.data(),
                                         payload.size());
    if (ZSTD_isError(got)) return wrong(ZSTD_getErrorName(got));
    if (got != size) return wrong("it is shorter");
    return into;
}

}  // namespace understudy::mover
