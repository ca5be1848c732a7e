#include "cli/command.hpp"

#include <array>
#include <iterator>

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

std::span<const CommandSpec> all_commands() {
    static const std::vector<CommandSpec> commands = [] {
        std::vector<CommandSpec> all;
        for (const auto& noun :
             {cluster_commands(), peer_commands(), vm_commands(), snapshot_commands(),
              send_commands(), file_commands(), replica_commands(), promote_commands(),
              recovery_commands(), verify_commands(), drill_commands(), task_commands(),
              event_commands(), program_commands()})
            all.insert(all.end(), noun.begin(), noun.end());
        return all;
    }();
    return commands;
}

std::span<const GroupSpec> all_groups() {
    static constexpr std::array<GroupSpec, 7> kGroups{{
        {"cluster", "this cluster: its name, pools and how it is"},
        {"peer", "other clusters that this one is paired with"},
        {"vm", "the virtual machines that run here"},
        {"vm snapshot", "moments of a VM: take, list, remove, go back, send, export"},
        {"replica", "ready copies of other clusters' VMs, kept here"},
        {"task", "long-running work: what runs, what failed and why"},
        {"event", "what happened, who did it and when"},
    }};
    return kGroups;
}

std::span<const OptionSpec> global_options() {
    static const std::vector<OptionSpec> options{
        {"-c,--config", "FILE", "understudyd's configuration; only its socket path is read", false,
         Names::file},
        {"--socket", "PATH", "understudyd's unix socket", false, Names::file},
        {"--url", "URL", "https://HOST:7370 of a cluster's API, instead of the socket"},
        {"--token-file", "FILE", "file with the API token (with --url)", false, Names::file},
        {"--fingerprint", "HEX", "SHA-256 of the server's certificate (with --url)"},
        {"--format", "FORMAT", "table (for people) or json (for scripts)", false, Names::words,
         "table json"},
        {"--no-wait", "", "print the task's id and leave, instead of waiting for its end"},
        {"-y,--yes", "", "do not ask before something is destroyed"},
        {"-h,--help", "", "what a command does, with an example"},
    };
    return options;
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

}  // namespace understudy::cli
