#include "cli/grammar/command.hpp"

#include <algorithm>

namespace understudy::cli {

Exit exit_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::invalid: return Exit::usage;
        case ErrorKind::refused: return Exit::refused;
        case ErrorKind::unavailable: return Exit::unreachable;
        default: return Exit::failed;
    }
}

std::optional<std::string> Arguments::find(std::string_view name) const {
    const auto found = values_.find(name);
    if (found == values_.end() || found->second.empty()) return std::nullopt;
    return found->second.front();
}

std::vector<std::string> Arguments::all(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::vector<std::string>{} : found->second;
}

void Arguments::add(std::string_view name, std::string value) {
    values_[std::string(name)].push_back(std::move(value));
}

std::string_view key_of(const OptionSpec& option) {
    return option.flags.substr(option.flags.find("--") + 2);
}

const OptionSpec* find_option(std::span<const OptionSpec> options, std::string_view flag) {
    for (const auto& option : options) {
        std::string_view rest = option.flags;
        while (!rest.empty()) {
            const auto comma = rest.find(',');
            if (rest.substr(0, comma) == flag) return &option;
            rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
        }
    }
    return nullptr;
}

const CommandSpec* Grammar::find_command(std::string_view path) const {
    const auto found = std::ranges::find(commands, path, &CommandSpec::path);
    return found == commands.end() ? nullptr : &*found;
}

const GroupSpec* Grammar::find_group(std::string_view path) const {
    const auto found = std::ranges::find(groups, path, &GroupSpec::path);
    return found == groups.end() ? nullptr : &*found;
}

std::vector<std::string> Grammar::children_of(std::string_view path) const {
    std::vector<std::string> children;
    const std::string prefix = path.empty() ? "" : std::string(path) + " ";
    for (const auto& command : commands) {
        if (!command.path.starts_with(prefix)) continue;
        const auto rest = command.path.substr(prefix.size());
        const std::string child(rest.substr(0, rest.find(' ')));
        if (!child.empty() && std::ranges::find(children, child) == children.end())
            children.push_back(child);
    }
    return children;
}

}  // namespace understudy::cli
