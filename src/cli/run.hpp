#pragma once

#include "cli/api_client/api.hpp"
#include "cli/terminal/surroundings.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace understudy::cli {

struct Target;

using Connect = std::function<Result<std::unique_ptr<Api>>(const Target&)>;

// The whole program but its process: parses, connects through `connect` when a command needs it,
// runs, prints. `words` are argv without the program's name. Returns the exit code.
int run(const std::vector<std::string>& words, Surroundings& world, const Connect& connect);

}  // namespace understudy::cli
