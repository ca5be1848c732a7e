#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::libvirt {

// A whole file of UEFI variables, at most 64 MiB (real ones have at most 1). No file: empty.
// unsupported: longer, or not a regular file. unavailable: its length changed while it was read.
Result<std::string> read_nvram_file(const std::string& path);

// base::replace_file with mode 0600; makes the directory, too. `path` must be absolute.
Result<> write_nvram_file(const std::string& path, const std::string& bytes);

Result<> remove_nvram_file(const std::string& path);  // fine if it is not there

}  // namespace understudy::libvirt
