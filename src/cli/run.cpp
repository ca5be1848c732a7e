#include "cli/run.hpp"

#include "cli/api_client/connection.hpp"
#include "cli/commands/all_commands.hpp"
#include "cli/grammar/help.hpp"
#include "cli/grammar/parse.hpp"
#include "cli/grammar/walk.hpp"
#include "cli/session/complete.hpp"
#include "cli/session/context.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

// The whole program: (1) `__complete` for the shell, (2) help, also for a noun alone, (3) the
// words parsed, (4) the settings, (5) the command, which connects at its first call. The error of
// any of these is printed here and gives the exit code.

namespace understudy::cli {
namespace {

Result<Format> format_from(const std::string& word) {
    if (word == "table") return Format::table;
    if (word == "json") return Format::json;
    return fail(ErrorKind::invalid,
                fmt::format("'{}' is not a format; the formats are table and json", escape(word)));
}

// The format for errors. It is found also when the rest of the command line cannot be parsed.
Format wanted_format(const std::vector<std::string>& words, const Surroundings& world) {
    auto word = world.environment("UNDERSTUDY_FORMAT").value_or("table");
    for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
        if (words[i] == "--format" && i + 1 < words.size()) word = words[i + 1];
        if (words[i].starts_with("--format=")) word = words[i].substr(9);
    }
    return word == "json" ? Format::json : Format::table;
}

// On its own line, indented like the first one's text.
std::string indented_line(std::string_view label, std::string_view text) {
    if (text.empty()) return "";
    std::string safe = escape_lines(text);
    for (std::size_t at = 0; (at = safe.find('\n', at)) != std::string::npos; at += 8)
        safe.replace(at, 1, "\n       ");
    return fmt::format("       {}{}\n", label, safe);
}

void print_error(Surroundings& world, Format format, const Error& error) {
    if (format == Format::json) {
        const nlohmann::json document{{"error",
                                       {{"kind", base::to_string(error.kind())},
                                        {"text", error.step_text()},
                                        {"kept", error.kept()},
                                        {"advice", error.advice()}}}};
        world.err << dump(document) << "\n" << std::flush;
        return;
    }
    std::string text = error.step_text();
    // A task's text carries what was kept inside.
    if (const auto kept = text.find(". Kept: "); kept != std::string::npos)
        text.replace(kept, 2, ".\n");
    const std::string lines = indented_line("", text);
    world.err << "error: " << lines.substr(std::min<std::size_t>(7, lines.size()))
              << indented_line("Kept: ", error.kept()) << indented_line("", error.advice())
              << std::flush;
}

bool wants_help(const std::vector<std::string>& words) {
    for (const auto& word : words) {
        if (word == "--") return false;
        if (word == "-h" || word == "--help") return true;
    }
    return false;
}

Result<Settings> settings_of(const Arguments& globals, const Surroundings& world) {
    Settings settings;
    settings.yes = globals.has("yes");
    settings.no_wait = globals.has("no-wait");
    auto word = globals.find("format");
    if (!word) word = world.environment("UNDERSTUDY_FORMAT");
    if (!word || word->empty()) return settings;
    auto format = UNDERSTUDY_VALUE(format_from(*word));
    settings.format = format;
    return settings;
}

// Connects once, at the first call.
ApiSource source_for(const Arguments& globals, const Surroundings& world, const Connect& connect) {
    auto api = std::make_shared<std::unique_ptr<Api>>();
    return [api, &globals, &world, &connect]() -> Result<Api*> {
        if (*api == nullptr) {
            auto target = UNDERSTUDY_VALUE(choose_target(globals, world));
            auto made = UNDERSTUDY_VALUE(connect(target));
            *api = std::move(made);
        }
        return api->get();
    };
}

Result<Exit> run_parsed(const Parsed& parsed, Surroundings& world, const Connect& connect) {
    auto settings = UNDERSTUDY_VALUE(settings_of(parsed.globals, world));
    Context context(world, settings, source_for(parsed.globals, world, connect));
    return parsed.command->run(context, parsed.arguments);
}

}  // namespace

int run(const std::vector<std::string>& words, Surroundings& world, const Connect& connect) {
    const Grammar& grammar = all_commands();
    if (!words.empty() && words.front() == kCompleteCommand) {
        const Arguments globals;
        return complete_command(grammar, words, world, source_for(globals, world, connect));
    }
    std::vector<std::string> command_words = words;
    const bool help_word = !command_words.empty() && command_words.front() == "help";
    if (help_word) command_words.erase(command_words.begin());
    const Walk walked = walk(grammar, command_words);
    if ((help_word || wants_help(words)) && !walked.unknown) {
        world.out << help_text(grammar, walked.path) << std::flush;
        return static_cast<int>(Exit::done);
    }
    const Format format = wanted_format(words, world);
    const bool only_group = walked.command == nullptr && !walked.unknown;
    if (only_group && format == Format::table &&
        std::ranges::none_of(words, [](const auto& w) { return w.starts_with("-"); })) {
        world.err << help_text(grammar, walked.path) << std::flush;
        return static_cast<int>(Exit::usage);
    }
    auto parsed = parse(grammar, command_words);
    Result<Exit> result = parsed ? run_parsed(*parsed, world, connect)
                                 : Result<Exit>(fail(std::move(parsed.error())));
    if (result) return static_cast<int>(*result);
    print_error(world, format, result.error());
    return static_cast<int>(exit_of(result.error().kind()));
}

}  // namespace understudy::cli
