#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::catalog {

// Bytes as text (RFC 4648, section 4, padded): SOCI's blobs are large objects on PostgreSQL and
// something else on SQLite, while text is the same in both.
std::string to_base64(std::string_view bytes);
Result<std::string> from_base64(std::string_view text);  // corrupt: not what to_base64 writes

}  // namespace understudy::catalog
