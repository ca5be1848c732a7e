#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::net {

// Writes DIRECTORY/NAME anew with this mode, readable by nobody else at any moment. After a crash
// there is the old file or the new one, whole; durable when it returns.
Result<> replace_file(const std::string& directory, const std::string& name, std::string_view text,
                      unsigned mode);

}  // namespace understudy::net
