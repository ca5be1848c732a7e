#pragma once

#include "ports/start_guard.hpp"

#include <memory>

namespace understudy::daemon {

// A file per VM that must not start on this host, named by its UUID, with the reason in it; the
// libvirt hook of packaging/ reads it. `directory` is made when it is missing.
Result<std::unique_ptr<ports::StartGuard>> open_guard_files(const std::string& directory);

}  // namespace understudy::daemon
