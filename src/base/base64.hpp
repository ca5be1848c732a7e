#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::base {

// RFC 4648. Decoders are strict: for each value they take only the one text that the encoder writes
// (its padding, no white space, no stray bits). So if an encoded token is altered, it is refused or
// means something else.
std::string base64_encode(std::string_view bytes);         // section 4, padded
std::string base64url_encode(std::string_view bytes);      // section 5, without padding
Result<std::string> base64_decode(std::string_view text);  // invalid: not what encode writes
Result<std::string> base64url_decode(std::string_view text);

}  // namespace understudy::base
