#include "cli/grammar/help.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

// Help, from the grammar alone: the layout of words and of two columns, then a command's text, a
// group's, the program's, and the choice among them.

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
    std::string text = fmt::format("{}\n\nUsage: {}\n", command.summary, usage_line(command));
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

Lines commands_under(const Grammar& grammar, std::string_view group) {
    Lines lines;
    for (const auto& command : grammar.commands) {
        if (command.summary.empty() || !command.path.starts_with(group)) continue;
        std::string words = usage_line(command).substr(sizeof("understudy"));
        constexpr std::string_view kOptions = " [OPTIONS]";
        if (words.ends_with(kOptions)) words.resize(words.size() - kOptions.size());
        lines.emplace_back(std::move(words), command.summary);
    }
    return lines;
}

std::string group_help(const Grammar& grammar, const GroupSpec& group) {
    return fmt::format("{}\n\nUsage: understudy {} COMMAND …\n", group.summary, group.path) +
           two_columns("Commands", commands_under(grammar, std::string(group.path) + " ")) +
           fmt::format("\n`understudy {} COMMAND --help` tells more, with an example.\n",
                       group.path);
}

std::string program_help(const Grammar& grammar) {
    Lines lines;
    for (const auto& child : grammar.children_of("")) {
        if (const auto* group = grammar.find_group(child))
            lines.emplace_back(child, group->summary);
        if (const auto* command = grammar.find_command(child))
            lines.emplace_back(child, command->summary);
    }
    return fmt::format("{}\n\nUsage: understudy [OPTIONS] COMMAND …\n", grammar.summary) +
           two_columns("Commands", lines) +
           two_columns("Options, before or after the command",
                       option_lines(grammar.global_options)) +
           std::string(grammar.notes);
}

}  // namespace

std::string usage_line(const CommandSpec& command) {
    std::string line = fmt::format("understudy {}", command.path);
    for (const auto& positional : command.positionals) {
        const auto dots = positional.repeats ? "..." : "";
        line += positional.required ? fmt::format(" {}{}", positional.name, dots)
                                    : fmt::format(" [{}{}]", positional.name, dots);
    }
    if (!command.options.empty()) line += " [OPTIONS]";
    return line;
}

std::string help_text(const Grammar& grammar, std::string_view path) {
    if (const auto* command = grammar.find_command(path)) return command_help(*command);
    if (const auto* group = grammar.find_group(path)) return group_help(grammar, *group);
    return program_help(grammar);
}

}  // namespace understudy::cli
