#pragma once

#include "cli/api_client/api.hpp"
#include "cli/grammar/command.hpp"
#include "cli/terminal/surroundings.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace understudy::cli {

// `understudy __complete BREAKS LINE`: what the shell's completion calls. BREAKS are the shell's
// COMP_WORDBREAKS, LINE the command line up to the cursor. Prints one candidate per line, quoted
// as the shell wants it inserted. Never fails: without the daemon it knows words but no names.
inline constexpr std::string_view kCompleteCommand = "__complete";
int complete_command(const Grammar& grammar, const std::vector<std::string>& words,
                     Surroundings& world, const ApiSource& source);

// The candidates for the last word of `line`, quoted, without what stands before the last break.
std::vector<std::string> complete_line(const Grammar& grammar, std::string_view breaks,
                                       std::string_view line, const ApiSource& source);

// A line split as a POSIX shell would, quotes removed; nothing is expanded or run. The last word is
// the one under the cursor (perhaps empty), kept also as it was typed.
struct ShellWords {
    std::vector<std::string> words;  // with the last one
    std::string raw_last;
    char open_quote = '\0';  // ' or " when the last word ends inside one
};
ShellWords split_shell_words(std::string_view line);

// The script that makes bash call it.
std::string_view bash_completion_script();

}  // namespace understudy::cli
