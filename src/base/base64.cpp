#include "base/base64.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

// base64 and base64url, RFC 4648. One encoder and one strict decoder, with an alphabet and, for the
// standard form, padding. The decoder refuses wrong characters, a cut-off end and bits that the
// encoder would not have written. Pure.

namespace understudy::base {
namespace {

constexpr std::string_view kStandard =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> inverse(std::string_view alphabet) {
    std::array<std::int8_t, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    return table;
}

constexpr auto kStandardInverse = inverse(kStandard);
constexpr auto kUrlInverse = inverse(kUrl);

std::string encode(std::string_view bytes, std::string_view alphabet, bool pad) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j)
            group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
        for (std::size_t j = 0; j < 4; ++j) {
            if (j <= count)
                text += alphabet[group >> (18 - 6 * j) & 63];
            else if (pad)
                text += '=';
        }
    }
    return text;
}

// `text` is without padding.
Result<std::string> decode(std::string_view text, const std::array<std::int8_t, 256>& table) {
    if (text.size() % 4 == 1) return fail(ErrorKind::invalid, "base64 text is cut off");
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t bits = 0;
    int held = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const std::int8_t value = table[static_cast<unsigned char>(text[i])];
        if (value < 0)
            return fail(ErrorKind::invalid,
                        fmt::format("base64 text has a wrong character at {}", i));
        bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes += static_cast<char>(bits >> held & 0xff);
        }
    }
    if ((bits & ((1u << held) - 1)) != 0)
        return fail(ErrorKind::invalid, "base64 text ends in stray bits");
    return bytes;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
    return encode(bytes, kStandard, true);
}

std::string base64url_encode(std::string_view bytes) {
    return encode(bytes, kUrl, false);
}

Result<std::string> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0)
        return fail(ErrorKind::invalid, "base64 text is not a multiple of 4 characters");
    if (text.ends_with("==")) {
        text.remove_suffix(2);
    } else if (text.ends_with('=')) {
        text.remove_suffix(1);
    }
    return decode(text, kStandardInverse);
}

Result<std::string> base64url_decode(std::string_view text) {
    return decode(text, kUrlInverse);
}

}  // namespace understudy::base
