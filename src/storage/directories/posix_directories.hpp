#pragma once

#include "ports/directories.hpp"

#include <memory>

namespace understudy::directories {

std::unique_ptr<ports::Directories> posix_directories();

}  // namespace understudy::directories
