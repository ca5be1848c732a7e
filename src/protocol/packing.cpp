#include "protocol/packing.hpp"

#include "base/base64.hpp"
#include "protocol/limits.hpp"

#include <fmt/format.h>
#include <zstd.h>

namespace understudy::protocol {
namespace {

constexpr int kLevel = 3;  // zstd's own default; a definition is packed once per send

std::unexpected<Error> bad(std::string_view what, std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("{}: {}", what, why));
}

}  // namespace

Result<std::string> pack(std::string_view content, std::size_t limit, std::string_view what) {
    if (content.size() > limit)
        return bad(what, fmt::format("{} bytes; at most {} can travel", content.size(), limit));
    std::string packed(ZSTD_compressBound(content.size()), '\0');
    const auto size =
        ZSTD_compress(packed.data(), packed.size(), content.data(), content.size(), kLevel);
    if (ZSTD_isError(size))
        return fail(ErrorKind::internal, fmt::format("{}: {}", what, ZSTD_getErrorName(size)));
    if (size > kMaxPackedPart)
        return bad(what,
                   fmt::format("{} bytes compressed; at most {} can travel", size, kMaxPackedPart));
    packed.resize(size);
    return base::base64_encode(packed);
}

Result<std::string> unpack(std::string_view packed, std::size_t limit, std::string_view what) {
    if (packed.size() > (kMaxPackedPart + 2) / 3 * 4) return bad(what, "too large");
    auto frame = base::base64_decode(packed);
    if (!frame) return bad(what, "this is not base64");
    const auto size = ZSTD_getFrameContentSize(frame->data(), frame->size());
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
        return bad(what, "this is not a zstd frame that states its size");
    if (size > limit) return bad(what, fmt::format("{} bytes; at most {}", size, limit));
    std::string content(static_cast<std::size_t>(size), '\0');
    const auto got = ZSTD_decompress(content.data(), content.size(), frame->data(), frame->size());
    if (ZSTD_isError(got)) return bad(what, ZSTD_getErrorName(got));
    if (got != content.size()) return bad(what, "shorter than it states");
    return content;
}

}  // namespace understudy::protocol
