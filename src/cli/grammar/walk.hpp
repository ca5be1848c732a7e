#pragma once

#include "cli/grammar/command.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::cli {

// Words of a command line resolved against the table of commands, without parsing options.
struct Walk {
    std::string path;  // the longest command or group that matches: "vm snapshot"
    const CommandSpec* command = nullptr;  // when path names a command
    std::optional<std::string> unknown;    // the word after a group that names nothing in it
    std::size_t next = 0;                  // index of the first word after the path
};
Walk walk(const Grammar& grammar, const std::vector<std::string>& words);

// The candidate that differs least from `word`, when it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

}  // namespace understudy::cli
