#pragma once

#include "base/error.hpp"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// How commands are declared: one table that the parser, --help, suggestions and completion share.

namespace understudy::cli {

class Context;  // what a command runs with (session/context.hpp); here it is only handed on

enum class Exit : int {
    done = 0,
    failed = 1,
    usage = 2,
    refused = 3,      // a promise would break
    unreachable = 4,  // understudyd, or a peer that the work needs
};

Exit exit_of(ErrorKind kind);

// What a word on the command line names, for completion.
enum class Names { nothing, vm, replica, snapshot, vm_at_snapshot, peer, task, file, words };

struct PositionalSpec {
    std::string_view name;  // "VM"
    std::string_view help;
    bool required = true;
    bool repeats = false;  // only the last one may
    Names names = Names::nothing;
    std::string_view words = "";  // for Names::words, separated by spaces
};

struct OptionSpec {
    std::string_view flags;  // "-y,--yes"; the long form is the key in Arguments, without dashes
    std::string_view value = "";  // "RATE"; empty for a flag
    std::string_view help = "";
    bool repeats = false;
    Names names = Names::nothing;
    std::string_view words = "";
};

// What was given for one command.
class Arguments {
public:
    bool has(std::string_view name) const { return values_.contains(name); }
    // The value, or the first one, of a positional ("VM") or an option ("ttl").
    std::optional<std::string> find(std::string_view name) const;
    std::string text(std::string_view name) const { return find(name).value_or(""); }
    std::vector<std::string> all(std::string_view name) const;
    void add(std::string_view name, std::string value);

private:
    std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

struct CommandSpec {
    std::string_view path;     // "vm snapshot create"
    std::string_view summary;  // one line
    std::string_view details;  // what an operator should know; may be empty
    std::string_view example;  // one or more lines
    std::vector<PositionalSpec> positionals;
    std::vector<OptionSpec> options;
    Result<Exit> (*run)(Context&, const Arguments&);
};

struct GroupSpec {
    std::string_view path;
    std::string_view summary;
};

// The long form without dashes: "yes" for "-y,--yes".
std::string_view key_of(const OptionSpec& option);
// The spec that "--ttl" or "-y" names, or nothing.
const OptionSpec* find_option(std::span<const OptionSpec> options, std::string_view flag);

// All that can be written on the command line of the program, and the words of its --help. The
// grammar knows no command by itself: whoever runs the program hands it one
// (commands/all_commands).
struct Grammar {
    std::string_view summary;           // one line: what the program does
    std::string_view notes;             // what --help of the program says at its end
    std::vector<CommandSpec> commands;  // in the order of --help
    std::vector<GroupSpec> groups;      // "vm", "vm snapshot"; in the order of --help
    std::vector<OptionSpec> global_options;

    const CommandSpec* find_command(std::string_view path) const;
    const GroupSpec* find_group(std::string_view path) const;
    // What comes right after a group (or, for "", after the program): "list", "snapshot" …
    std::vector<std::string> children_of(std::string_view path) const;
};

}  // namespace understudy::cli
