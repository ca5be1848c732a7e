#include "base/version.hpp"
#include "cli/commands/all_commands.hpp"
#include "cli/session/complete.hpp"
#include "cli/session/context.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

namespace understudy::cli {
namespace {

Result<Exit> completion(Context& context, const Arguments& arguments) {
    if (arguments.text("SHELL") != "bash")
        return fail(Error(ErrorKind::invalid,
                          fmt::format("there is no completion for '{}'", arguments.text("SHELL")))
                        .advising("There is one for bash."));
    context.world().out << bash_completion_script() << std::flush;
    return Exit::done;
}

Result<Exit> version(Context& context, const Arguments&) {
    if (context.json())
        context.print_json({{"version", base::version()}});
    else
        context.print_line(fmt::format("understudy {}", base::version()));
    return Exit::done;
}

}  // namespace

std::vector<CommandSpec> program_commands() {
    return {
        {"completion",
         "Print the script for the completion of understudy's commands in a shell",
         "`cmake --install` installs it. By hand: put the line of the example into ~/.bashrc.",
         "eval \"$(understudy completion bash)\"",
         {{.name = "SHELL", .help = "bash", .names = Names::words, .words = "bash"}},
         {},
         completion},
        {"version",
         "Print this program's version (`cluster status` shows understudyd's)",
         "",
         "understudy version",
         {},
         {},
         version},
    };
}

}  // namespace understudy::cli
