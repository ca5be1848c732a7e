#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>

// How large, repetitive texts and bytes travel inside JSON: base64 (RFC 4648, section 4) of one
// zstd frame. The variables of a UEFI guest, for example, are 540 KiB, almost all of them 0xFF.
namespace understudy::protocol {

// invalid: it has more than `limit` bytes, or more than kMaxPackedPart after compression.
Result<std::string> pack(std::string_view content, std::size_t limit, std::string_view what);
// Allocates at most `limit` bytes for the content, whatever size the sender claims.
Result<std::string> unpack(std::string_view packed, std::size_t limit, std::string_view what);

}  // namespace understudy::protocol
