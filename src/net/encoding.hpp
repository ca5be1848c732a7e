#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::net {

// RFC 3986. Everything but letters, digits and "-._~" becomes %XX, so that any bytes (a VM's name)
// fit into one path segment or query value.
std::string percent_encode(std::string_view bytes);
Result<std::string> percent_decode(std::string_view text);  // "+" stays "+"

}  // namespace understudy::net
