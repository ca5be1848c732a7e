#pragma once

#include "cli/grammar/command.hpp"

#include <vector>

namespace understudy::cli {

// Each noun's own commands.
std::vector<CommandSpec> cluster_commands();
std::vector<CommandSpec> peer_commands();
std::vector<CommandSpec> vm_commands();
std::vector<CommandSpec> snapshot_commands();
std::vector<CommandSpec> send_commands();  // vm snapshot send
std::vector<CommandSpec> file_commands();  // vm snapshot export, import
std::vector<CommandSpec> replica_commands();
std::vector<CommandSpec> promote_commands();   // replica promote
std::vector<CommandSpec> recovery_commands();  // vm may-start, vm move, replica resolve
std::vector<CommandSpec> verify_commands();    // replica verify
std::vector<CommandSpec> drill_commands();     // replica drill
std::vector<CommandSpec> task_commands();
std::vector<CommandSpec> event_commands();
std::vector<CommandSpec> program_commands();  // completion, version

// All of them, with their groups and the options that every command takes.
const Grammar& all_commands();

}  // namespace understudy::cli
