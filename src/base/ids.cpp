#include "base/ids.hpp"

#include <fmt/format.h>
#include <sys/random.h>

namespace understudy::base {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void stamp_version_4(UuidBytes& bytes) {  // RFC 9562, section 5.4
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0F) | 0x40);
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3F) | 0x80);
}

}  // namespace

std::string format_uuid(const UuidBytes& bytes) {
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        fmt::format_to(std::back_inserter(text), "{:02x}", bytes[i]);
    }
    return text;
}

Result<UuidBytes> parse_uuid(std::string_view text) {
    const auto bad = [&] {
        return fail(ErrorKind::invalid, fmt::format("'{}' is not a UUID", text.substr(0, 64)));
    };
    if (text.size() != 36) return bad();
    UuidBytes bytes{};
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') return bad();
            continue;
        }
        const int digit = hex_digit(text[i]);
        if (digit < 0) return bad();
        auto& byte = bytes[digits / 2];
        byte = static_cast<std::uint8_t>(byte << 4 | digit);
        ++digits;
    }
    return bytes;
}

UuidBytes random_uuid() {
    UuidBytes bytes{};
    const auto got = getrandom(bytes.data(), bytes.size(), 0);
    UNDERSTUDY_INVARIANT(got == static_cast<ssize_t>(bytes.size()), "getrandom gave too little");
    stamp_version_4(bytes);
    return bytes;
}

UuidBytes uuid_from_random(std::uint64_t high, std::uint64_t low) {
    UuidBytes bytes{};
    std::memcpy(bytes.data(), &high, 8);
    std::memcpy(bytes.data() + 8, &low, 8);
    stamp_version_4(bytes);
    return bytes;
}

}  // namespace understudy::base
