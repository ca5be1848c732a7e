#pragma once

#include "ports/start_guard.hpp"

#include <memory>

namespace understudy::daemon {

// One file per VM that must not start on this host. Its name is the VM's UUID, and the reason is in
// it. The libvirt hook of packaging/ reads it. `directory` is made if it is missing.
Result<std::unique_ptr<ports::StartGuard>> open_guard_files(const std::string& directory);

}  // namespace understudy::daemon
