#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace understudy::net {

std::string sha256_hex(std::string_view text);  // 64 lower-case hex digits
std::string hmac_sha256_hex(std::string_view key, std::string_view text);

// `bytes` bytes from the system's generator, as base64url. 32 are enough for any token.
std::string random_secret(std::size_t bytes = 32);

// Takes the same time wherever the texts differ. The time can tell only their lengths.
bool constant_time_equal(std::string_view a, std::string_view b);

}  // namespace understudy::net
