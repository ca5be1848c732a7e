#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>

// How bulky, repetitive text and bytes travel inside JSON: base64 (RFC 4648, section 4) of one
// zstd frame. A UEFI guest's variables are 540 KiB of almost nothing but 0xFF.
namespace understudy::protocol {

// invalid when more than `limit` bytes, or when too much is left after compression.
Result<std::string> pack(std::string_view content, std::size_t limit, std::string_view what);
// Allocates at most `limit`, whatever the sender claims.
Result<std::string> unpack(std::string_view packed, std::size_t limit, std::string_view what);

}  // namespace understudy::protocol
