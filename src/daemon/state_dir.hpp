#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::daemon {

// Makes the daemon's directory where it is missing. It can be passed through by everyone, because
// QEMU under its own user has to reach the default pool and the UEFI variables below it, and read
// by nobody else; what is secret in it has a mode of its own.
Result<> make_state_dir(const std::string& path);

}  // namespace understudy::daemon
