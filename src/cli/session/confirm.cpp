#include "cli/session/confirm.hpp"

#include "cli/terminal/table.hpp"

#include <fmt/format.h>

#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

namespace understudy::cli {
namespace {

std::string read_line(std::istream& in) {
    std::string line;
    std::getline(in, line);
    if (line.ends_with('\r')) line.pop_back();
    return line;
}

std::unexpected<Error> not_confirmed() {
    return fail(ErrorKind::cancelled, "not confirmed: nothing was done");
}

}  // namespace

Result<> check_can_ask(const Context& context, std::string_view command) {
    if (context.settings().yes || context.world().can_ask()) return {};
    return fail(Error(ErrorKind::invalid,
                      fmt::format("`understudy {}` destroys something and there is no terminal "
                                  "to ask on; nothing was done",
                                  command))
                    .advising("Add -y to run it without a question."));
}

Result<> confirm(const Context& context, std::string_view loss, std::string_view question) {
    if (context.settings().yes) return {};
    auto& world = context.world();
    world.err << loss << "\n" << question << " [y/N] " << std::flush;
    const std::string answer = read_line(world.in);
    if (answer == "y" || answer == "Y" || answer == "yes") return {};
    return not_confirmed();
}

Result<> confirm_about(const Context& context, const Question& about, const LossText& loss) {
    UNDERSTUDY_TRY(check_can_ask(context, about.command));
    if (context.settings().yes) return {};
    auto answer = UNDERSTUDY_VALUE(context.get(about.path));
    return confirm(context, loss(answer), about.question);
}

Result<> confirm_by_typing(const Context& context, std::string_view what, std::string_view word) {
    auto& world = context.world();
    world.err << fmt::format("To go on, type {} ({}): ", what, escape(word)) << std::flush;
    if (read_line(world.in) == word && !word.empty()) return {};
    return not_confirmed();
}

Result<> confirm_by_name(const Context& context, std::string_view name) {
    return confirm_by_typing(context, "the VM's name", name);
}

}  // namespace understudy::cli
