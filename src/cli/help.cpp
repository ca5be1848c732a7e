#include "cli/help.hpp"

#include "cli/command.hpp"
#include "cli/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace understudy::cli {
namespace {

constexpr std::size_t kWidth = 100;

using Lines = std::vector<std::pair<std::string, std::string>>;

// Words of `text` from column `indent` on; the first line begins where the caller stands.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t at) {
    std::string lines;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        const auto word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (at + word.size() + 1 > kWidth && at > indent) {
            lines += "\n" + std::string(indent, ' ');
            at = indent;
        } else if (at > indent) {
            lines += ' ';
            ++at;
        }
        lines += word;
        at += word.size();
    }
    return lines;
}

std::string two_columns(std::string_view title, const Lines& lines) {
    if (lines.empty()) return "";
    std::size_t width = 0;
    for (const auto& [left, right] : lines) width = std::max(width, left.size());
    width = std::min<std::size_t>(width, 30);
    std::string text = fmt::format("\n{}:\n", title);
    for (const auto& [left, right] : lines) {
        const std::size_t indent = width + 4;
        text += "  " + left;
        if (left.size() > width)
            text += "\n" + std::string(indent, ' ');
        else
            text += std::string(indent - 2 - left.size(), ' ');
        text += wrapped(right, indent, indent) + "\n";
    }
    return text;
}

std::string option_label(const OptionSpec& option) {
    std::string flags(option.flags);
    if (const auto comma = flags.find(','); comma != std::string::npos)
        flags.replace(comma, 1, ", ");
    else
        flags.insert(0, "    ");
    return option.value.empty() ? flags : fmt::format("{} {}", flags, option.value);
}

Lines option_lines(std::span<const OptionSpec> options) {
    Lines lines;
    for (const auto& option : options) lines.emplace_back(option_label(option), option.help);
    return lines;
}

std::string command_help(const CommandSpec& command) {
    std::string text = fmt::format("{}\n\nUsage: {}\n", command.summary, usage_line(command.path));
    if (!command.details.empty()) text += "\n" + wrapped(command.details, 0, 0) + "\n";
    Lines positionals;
    for (const auto& positional : command.positionals)
        positionals.emplace_back(positional.name, positional.help);
    text += two_columns("What", positionals);
    text += two_columns("Options", option_lines(command.options));
    text += "\nExample:\n";
    std::string_view example = command.example;
    while (!example.empty()) {
        const auto end = std::min(example.find('\n'), example.size());
        text += fmt::format("  {}\n", example.substr(0, end));
        example.remove_prefix(std::min(end + 1, example.size()));
    }
    return text + "\n`understudy --help` shows the options that every command takes.\n";
}

Lines commands_under(std::string_view group) {
    Lines lines;
    for (const auto& command : all_commands()) {
        if (command.summary.empty() || !command.path.starts_with(group)) continue;
        std::string words = usage_line(command.path).substr(sizeof("understudy"));
        constexpr std::string_view kOptions = " [OPTIONS]";
        if (words.ends_with(kOptions)) words.resize(words.size() - kOptions.size());
        lines.emplace_back(std::move(words), command.summary);
    }
    return lines;
}

std::string group_help(const GroupSpec& group) {
    return fmt::format("{}\n\nUsage: understudy {} COMMAND …\n", group.summary, group.path) +
           two_columns("Commands", commands_under(std::string(group.path) + " ")) +
           fmt::format("\n`understudy {} COMMAND --help` tells more, with an example.\n",
                       group.path);
}

constexpr std::string_view kExitCodes = R"(
Exit codes:
  0  done
  1  failed (or interrupted while waiting: the task goes on)
  2  usage: the command line is wrong, or nobody could be asked (add -y)
  3  refused: a promise would break; the message says which and what to do
  4  unreachable: understudyd, or the peer that the work needs, does not answer

Environment (options win over it):
  UNDERSTUDY_CONFIG, UNDERSTUDY_SOCKET, UNDERSTUDY_URL, UNDERSTUDY_TOKEN_FILE,
  UNDERSTUDY_FINGERPRINT, UNDERSTUDY_FORMAT

Example:
  understudy vm snapshot create web1 nightly
  understudy vm snapshot send web1@nightly --to dr
  understudy replica list

`understudy COMMAND --help` tells more about each, with an example.
)";

std::string program_help() {
    Lines lines;
    for (const auto& child : children_of("")) {
        for (const auto& group : all_groups())
            if (group.path == child) lines.emplace_back(child, group.summary);
        for (const auto& command : all_commands())
            if (command.path == child) lines.emplace_back(child, command.summary);
    }
    return std::string(
               "Understudy keeps a ready copy of each virtual machine on another cluster.\n"
               "\nUsage: understudy [OPTIONS] COMMAND …\n") +
           two_columns("Commands", lines) +
           two_columns("Options, before or after the command", option_lines(global_options())) +
           std::string(kExitCodes);
}

}  // namespace

std::string usage_line(std::string_view path) {
    std::string line = fmt::format("understudy {}", path);
    for (const auto& command : all_commands()) {
        if (command.path != path) continue;
        for (const auto& positional : command.positionals) {
            const auto dots = positional.repeats ? "..." : "";
            line += positional.required ? fmt::format(" {}{}", positional.name, dots)
                                        : fmt::format(" [{}{}]", positional.name, dots);
        }
        if (!command.options.empty()) line += " [OPTIONS]";
    }
    return line;
}

std::string help_text(std::string_view path) {
    for (const auto& command : all_commands())
        if (command.path == path) return command_help(command);
    for (const auto& group : all_groups())
        if (group.path == path) return group_help(group);
    return program_help();
}

}  // namespace understudy::cli
