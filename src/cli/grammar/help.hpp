#pragma once

#include "cli/grammar/command.hpp"

#include <string>
#include <string_view>

namespace understudy::cli {

// The --help text of a command, a group or (empty path) the program, at most 100 columns wide.
std::string help_text(const Grammar& grammar, std::string_view path);

// The words before the options: "understudy vm info VM".
std::string usage_line(const CommandSpec& command);

}  // namespace understudy::cli
