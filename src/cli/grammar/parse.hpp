#pragma once

#include "cli/grammar/command.hpp"

#include <string>
#include <vector>

namespace understudy::cli {

struct Parsed {
    const CommandSpec* command = nullptr;
    Arguments arguments;
    Arguments globals;  // by the long names of the grammar's global options
};

// `words` without the program's name. invalid: what is wrong and where to read on.
Result<Parsed> parse(const Grammar& grammar, const std::vector<std::string>& words);

}  // namespace understudy::cli
