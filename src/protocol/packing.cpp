#include "protocol/packing.hpp"

#include "protocol/limits.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <array>
#include <cstdint>

namespace understudy::protocol {
namespace {

constexpr int kLevel = 3;  // zstd's own default; a definition is packed once per send
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> kValues = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
        values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    return values;
}();

std::unexpected<Error> bad(std::string_view what, std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("{}: {}", what, why));
}

}  // namespace

std::string encode_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto have = std::min<std::size_t>(3, bytes.size() - at);
        std::uint32_t word = 0;
        for (std::size_t i = 0; i < 3; ++i)
            word = word << 8 | (i < have ? static_cast<unsigned char>(bytes[at + i]) : 0U);
        for (std::size_t i = 0; i < 4; ++i)
            text += i <= have ? kAlphabet[word >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

Result<std::string> decode_base64(std::string_view text) {
    const auto wrong = [] { return fail(ErrorKind::invalid, "this is not base64"); };
    if (text.size() % 4 != 0) return wrong();
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=')
        ++padding;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    for (std::size_t at = 0; at < text.size(); at += 4) {
        const auto pad = at + 4 == text.size() ? padding : 0;
        std::uint32_t word = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const auto value = i < 4 - pad ? kValues[static_cast<unsigned char>(text[at + i])] : 0;
            if (value < 0) return wrong();
            word = word << 6 | static_cast<std::uint32_t>(value);
        }
        if ((word & ((1U << (8 * pad)) - 1)) != 0) return wrong();  // not what an encoder writes
        for (std::size_t i = 0; i < 3 - pad; ++i)
            bytes += static_cast<char>(word >> (16 - 8 * i) & 0xFF);
    }
    return bytes;
}

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
    return encode_base64(packed);
}

Result<std::string> unpack(std::string_view packed, std::size_t limit, std::string_view what) {
    if (packed.size() > (kMaxPackedPart + 2) / 3 * 4) return bad(what, "too large");
    auto frame = decode_base64(packed);
    if (!frame) return bad(what, frame.error().what());
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
