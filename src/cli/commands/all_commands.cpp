#include "cli/commands/all_commands.hpp"

// The whole grammar of `understudy`, in the order of --help: the commands of every noun, the groups
// that they stand in, the options that all of them take, and the last lines of --help.

namespace understudy::cli {
namespace {

constexpr std::string_view kNotes = R"(
Exit codes:
  0  done
  1  failed (or interrupted while waiting; the task continues)
  2  usage: the command line is wrong, or there is no terminal to ask on (add -y)
  3  refused: a promise would be broken; the message says which promise, and what to do
  4  unreachable: understudyd, or the peer that the work needs, does not answer

Environment (an option wins over its variable):
  UNDERSTUDY_CONFIG, UNDERSTUDY_SOCKET, UNDERSTUDY_URL, UNDERSTUDY_TOKEN_FILE,
  UNDERSTUDY_FINGERPRINT, UNDERSTUDY_FORMAT

Example:
  understudy vm snapshot create web1 nightly
  understudy vm snapshot send web1@nightly --to dr
  understudy replica list

`understudy COMMAND --help` tells more about each, with an example.
)";

std::vector<CommandSpec> commands() {
    std::vector<CommandSpec> all;
    for (const auto& noun :
         {cluster_commands(), peer_commands(), vm_commands(), snapshot_commands(), send_commands(),
          file_commands(), replica_commands(), promote_commands(), recovery_commands(),
          verify_commands(), drill_commands(), task_commands(), event_commands(),
          program_commands()})
        all.insert(all.end(), noun.begin(), noun.end());
    return all;
}

std::vector<GroupSpec> groups() {
    return {
        {"cluster", "this cluster: its name, its pools, its state"},
        {"peer", "the clusters with which this cluster is paired"},
        {"vm", "the virtual machines that run here"},
        {"vm snapshot", "snapshots of a VM: take, list, remove, roll back, send, export, import"},
        {"replica", "ready copies of other clusters' VMs, kept here"},
        {"task", "long-running work: what runs, what failed and why"},
        {"event", "what happened, who did it and when"},
    };
}

std::vector<OptionSpec> global_options() {
    return {
        {.flags = "-c,--config",
         .value = "FILE",
         .help = "understudyd's configuration; only its socket path is read",
         .names = Names::file},
        {.flags = "--socket",
         .value = "PATH",
         .help = "understudyd's unix socket",
         .names = Names::file},
        {"--url", "URL", "https://HOST:7370 of a cluster's API, instead of the socket"},
        {.flags = "--token-file",
         .value = "FILE",
         .help = "file with the API token (with --url)",
         .names = Names::file},
        {"--fingerprint", "HEX", "SHA-256 of the server's certificate (with --url)"},
        {.flags = "--format",
         .value = "FORMAT",
         .help = "table (for people) or json (for scripts)",
         .names = Names::words,
         .words = "table json"},
        {"--no-wait", "", "print the task's id, and do not wait for its end"},
        {"-y,--yes", "", "do not ask before something is destroyed"},
        {"-h,--help", "", "what a command does, with an example"},
    };
}

}  // namespace

const Grammar& all_commands() {
    static const Grammar grammar{
        .summary = "Understudy keeps a ready copy of each virtual machine on another cluster.",
        .notes = kNotes,
        .commands = commands(),
        .groups = groups(),
        .global_options = global_options(),
    };
    return grammar;
}

}  // namespace understudy::cli
