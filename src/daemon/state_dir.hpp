#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::daemon {

// Makes the daemon's directory if it is missing. Everyone may pass through it, because QEMU under
// its own user has to reach the default pool and the UEFI variables below it. Nobody else may list
// it. Secret files in it have a mode of their own.
Result<> make_state_dir(const std::string& path);

}  // namespace understudy::daemon
