#pragma once

#include "ports/evidence.hpp"

#include <memory>
#include <string>

namespace understudy::daemon {

// DIRECTORY/VM/NAME/ has the files of one drill; of each VM the newest five names are kept.
// DIRECTORY/consoles/ has what copies that run now say on their consoles. The directories are made
// when they are needed.
std::shared_ptr<ports::Evidence> open_drill_files(const std::string& directory);

}  // namespace understudy::daemon
