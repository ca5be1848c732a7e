#include "net/encoding.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace understudy::net {
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

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
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

std::string percent_encode(std::string_view bytes) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string text;
    text.reserve(bytes.size());
    for (char c : bytes) {
        if (is_unreserved(c)) {
            text += c;
        } else {
            auto byte = static_cast<unsigned char>(c);
            text += {'%', kHex[byte >> 4], kHex[byte & 15]};
        }
    }
    return text;
}

Result<std::string> percent_decode(std::string_view text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            bytes += text[i];
            continue;
        }
        int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
        int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return fail(ErrorKind::invalid,
                        "'%' must be followed by two hexadecimal digits in a URL");
        bytes += static_cast<char>(high << 4 | low);
        i += 2;
    }
    return bytes;
}

}  // namespace understudy::net
