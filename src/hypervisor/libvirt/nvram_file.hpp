#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::libvirt {

// A whole file of UEFI variables, at most 64 MiB (real ones have at most 1). No file: empty.
Result<std::string> read_nvram_file(const std::string& path);

// Replaces the file at once and durably: after a crash it is the old one or the new one. Mode 0600;
// makes the directory. `path` must be absolute.
Result<> write_nvram_file(const std::string& path, const std::string& bytes);

Result<> remove_nvram_file(const std::string& path);  // fine if it is not there

}  // namespace understudy::libvirt
