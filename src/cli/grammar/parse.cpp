#include "cli/grammar/parse.hpp"

#include "cli/grammar/help.hpp"
#include "cli/grammar/walk.hpp"
#include "cli/terminal/table.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

// From words to a command's arguments: walk() finds the command, a CLI11 application is made for
// its path alone, and it reads the words. When that fails, the error is looked for in the grammar
// first: an unknown command or option, with the nearest one; then it is CLI11's.

namespace understudy::cli {
namespace {

// CLI11 gives a meaning to some words that are plain values here: "[a,b]" is a list and "++" ends
// a command. Put before such a word, this keeps it as it is; no argument can begin with it, being
// refused as a control character in a name.
constexpr char kShield = '\x01';

std::string shielded(const std::string& word) {
    return word.starts_with('[') || word == "++" ? kShield + word : word;
}

std::string unshielded(const std::string& word) {
    return word.starts_with(kShield) ? word.substr(1) : word;
}

Error usage_error(std::string what, std::string_view path) {
    return Error(ErrorKind::invalid, std::move(what))
        .advising(
            fmt::format("`understudy{}{} --help` shows more.", path.empty() ? "" : " ", path));
}

std::vector<std::string> flags_of(std::span<const OptionSpec> options) {
    std::vector<std::string> flags;
    for (const auto& option : options) flags.push_back(fmt::format("--{}", key_of(option)));
    return flags;
}

// The error for a command or an option that does not exist, with the nearest one that does.
std::optional<Error> explain_unknown(const Grammar& grammar, const std::vector<std::string>& words,
                                     const Walk& walked) {
    const auto path = walked.path;
    if (walked.unknown) {
        auto what = fmt::format("unknown command '{}{}{}'", path, path.empty() ? "" : " ",
                                escape(*walked.unknown));
        if (const auto near = nearest(*walked.unknown, grammar.children_of(path)))
            what += fmt::format("; did you mean '{}{}{}'?", path, path.empty() ? "" : " ", *near);
        return usage_error(std::move(what), path);
    }
    for (const auto& word : words) {
        if (word == "--") break;
        if (!word.starts_with("--")) continue;
        const auto flag = word.substr(0, word.find('='));
        std::vector<std::string> known = flags_of(grammar.global_options);
        if (walked.command != nullptr)
            for (auto& own : flags_of(walked.command->options)) known.push_back(std::move(own));
        if (std::ranges::find(known, flag) != known.end()) continue;
        auto what = fmt::format("unknown option '{}'", escape(flag));
        if (const auto near = nearest(flag, known))
            what += fmt::format("; did you mean {}?", *near);
        return usage_error(std::move(what), path);
    }
    return std::nullopt;
}

// One CLI11 application for the path of one command. Values land in `parsed`.
class Parser {
public:
    Parser(const Grammar& grammar, const CommandSpec& command) : command_(command) {
        root_.set_help_flag();
        add_options(root_, grammar.global_options, globals_);
        CLI::App* app = &root_;
        std::string_view rest = command.path;
        while (!rest.empty()) {
            const auto blank = rest.find(' ');
            app->require_subcommand(1);
            app = app->add_subcommand(std::string(rest.substr(0, blank)));
            app->set_help_flag();
            app->fallthrough();
            rest = blank == std::string_view::npos ? "" : rest.substr(blank + 1);
        }
        add_options(*app, command.options, locals_);
        for (const auto& positional : command.positionals) {
            std::string name(positional.name);
            std::ranges::replace(name, '=', '-');  // which CLI11 takes in no name
            auto* option = app->add_option(name, slot(locals_, positional.name));
            option->required(positional.required);
            // Without CLI11's limit of one value for a positional that repeats.
            if (positional.repeats)
                option->expected(positional.required ? 1 : 0,
                                 CLI::detail::expected_max_vector_size);
            else
                option->expected(1)->allow_extra_args(false);
        }
    }

    Parsed parse(const std::vector<std::string>& words) {
        std::vector<std::string> reversed;  // CLI11 takes them from the back
        for (const auto& word : words) reversed.insert(reversed.begin(), shielded(word));
        root_.parse(std::move(reversed));
        Parsed parsed;
        parsed.command = &command_;
        collect(globals_, parsed.globals);
        collect(locals_, parsed.arguments);
        return parsed;
    }

private:
    struct Slot {
        std::string key;
        std::vector<std::string> values;
        bool flag = false;
    };
    using Slots = std::vector<std::unique_ptr<Slot>>;

    static std::vector<std::string>& slot(Slots& slots, std::string_view key) {
        slots.push_back(std::make_unique<Slot>(std::string(key)));
        return slots.back()->values;
    }

    static void add_options(CLI::App& app, std::span<const OptionSpec> options, Slots& slots) {
        for (const auto& option : options) {
            if (key_of(option) == "help") continue;  // seen before the library runs
            auto& values = slot(slots, key_of(option));
            const std::string flags(option.flags);
            if (option.value.empty()) {
                slots.back()->flag = true;
                app.add_flag_callback(flags, [&values] { values.assign(1, ""); });
                continue;
            }
            auto* added = app.add_option(flags, values);
            added->expected(1)->allow_extra_args(false);
            added->multi_option_policy(option.repeats ? CLI::MultiOptionPolicy::TakeAll
                                                      : CLI::MultiOptionPolicy::Throw);
        }
    }

    static void collect(const Slots& slots, Arguments& into) {
        for (const auto& slot : slots)
            for (const auto& value : slot->values) into.add(slot->key, unshielded(value));
    }

    const CommandSpec& command_;
    CLI::App root_{"", "understudy"};
    Slots globals_;
    Slots locals_;
};

std::string empty_positional(const Parsed& parsed) {
    for (const auto& positional : parsed.command->positionals)
        if (parsed.arguments.has(positional.name) && parsed.arguments.text(positional.name).empty())
            return std::string(positional.name);
    return "";
}

}  // namespace

Result<Parsed> parse(const Grammar& grammar, const std::vector<std::string>& words) {
    const Walk walked = walk(grammar, words);
    for (const auto& word : words)
        if (!is_utf8(word) || word.starts_with(kShield))
            return fail(usage_error(fmt::format("'{}' is not valid UTF-8 text", escape(word)),
                                    walked.path));
    if (walked.command == nullptr) {
        if (auto error = explain_unknown(grammar, words, walked)) return fail(std::move(*error));
        return fail(usage_error(walked.path.empty()
                                    ? "a command is missing"
                                    : fmt::format("a command is missing after '{}'", walked.path),
                                walked.path));
    }
    try {
        Parser parser(grammar, *walked.command);
        auto parsed = parser.parse(words);
        if (const auto empty = empty_positional(parsed); !empty.empty())
            return fail(usage_error(fmt::format("{} is empty", empty), walked.path));
        return parsed;
    } catch (const CLI::Error& error) {
        if (auto better = explain_unknown(grammar, words, walked)) return fail(std::move(*better));
        std::string what = escape(error.what());
        std::erase(what, kShield);
        return fail(Error(ErrorKind::invalid, what + ". Usage: " + usage_line(*walked.command))
                        .advising(fmt::format("`understudy {} --help` tells more.", walked.path)));
    }
}

}  // namespace understudy::cli
