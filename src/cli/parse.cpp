#include "cli/parse.hpp"

#include "cli/help.hpp"
#include "cli/table.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <numeric>

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

bool is_group(std::string_view path) {
    return std::ranges::any_of(all_groups(), [&](const auto& g) { return g.path == path; });
}

const CommandSpec* command_at(std::string_view path) {
    for (const auto& command : all_commands())
        if (command.path == path) return &command;
    return nullptr;
}

Error usage_error(std::string what, std::string_view path) {
    return Error(ErrorKind::invalid, std::move(what))
        .advising(
            fmt::format("`understudy{}{} --help` tells more.", path.empty() ? "" : " ", path));
}

std::vector<std::string> flags_of(std::span<const OptionSpec> options) {
    std::vector<std::string> flags;
    for (const auto& option : options) flags.push_back(fmt::format("--{}", key_of(option)));
    return flags;
}

// The words that no declaration knows, said better than the library can.
std::optional<Error> explain_unknown(const std::vector<std::string>& words, const Walk& walked) {
    const auto path = walked.path;
    if (walked.unknown) {
        auto what = fmt::format("unknown command '{}{}{}'", path, path.empty() ? "" : " ",
                                escape(*walked.unknown));
        if (const auto near = nearest(*walked.unknown, children_of(path)))
            what += fmt::format("; did you mean '{}{}{}'?", path, path.empty() ? "" : " ", *near);
        return usage_error(std::move(what), path);
    }
    for (const auto& word : words) {
        if (word == "--") break;
        if (!word.starts_with("--")) continue;
        const auto flag = word.substr(0, word.find('='));
        std::vector<std::string> known = flags_of(global_options());
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
    explicit Parser(const CommandSpec& command) : command_(command) {
        root_.set_help_flag();
        add_options(root_, global_options(), globals_);
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

std::string missing_word(const Parsed& parsed) {
    for (const auto& positional : parsed.command->positionals)
        if (parsed.arguments.has(positional.name) && parsed.arguments.text(positional.name).empty())
            return std::string(positional.name);
    return "";
}

}  // namespace

std::vector<std::string> children_of(std::string_view path) {
    std::vector<std::string> children;
    const std::string prefix = path.empty() ? "" : std::string(path) + " ";
    const auto add = [&](std::string_view candidate) {
        if (!candidate.starts_with(prefix)) return;
        const auto rest = candidate.substr(prefix.size());
        const std::string child(rest.substr(0, rest.find(' ')));
        if (!child.empty() && std::ranges::find(children, child) == children.end())
            children.push_back(child);
    };
    for (const auto& command : all_commands()) add(command.path);
    return children;
}

Walk walk(const std::vector<std::string>& words) {
    Walk walked;
    std::size_t i = 0;
    for (; i < words.size() && walked.command == nullptr; ++i) {
        const std::string& word = words[i];
        if (word.starts_with('-') && word.size() > 1) {
            const auto* option = find_option(global_options(), word);
            if (option != nullptr && !option->value.empty()) ++i;  // its value
            continue;
        }
        const std::string deeper = walked.path.empty() ? word : walked.path + " " + word;
        const auto* command = command_at(deeper);
        if (command == nullptr && !is_group(deeper)) {
            walked.unknown = word;
            break;
        }
        walked.path = deeper;
        walked.command = command;
        walked.next = i + 1;
    }
    return walked;
}

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
    const auto distance = [&](std::string_view other) {  // Levenshtein's
        std::vector<std::size_t> row(other.size() + 1);
        std::iota(row.begin(), row.end(), std::size_t{0});
        for (std::size_t i = 0; i < word.size(); ++i) {
            std::size_t diagonal = row[0]++;
            for (std::size_t j = 0; j < other.size(); ++j) {
                const std::size_t change = diagonal + (word[i] == other[j] ? 0U : 1U);
                diagonal = row[j + 1];
                row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
            }
        }
        return row.back();
    };
    if (word.empty() || word.size() > 64) return std::nullopt;
    std::optional<std::string> best;
    std::size_t least = std::max<std::size_t>(2, word.size() / 2);
    for (const auto& candidate : candidates) {
        const bool begins = word.size() >= 2 && candidate.starts_with(word);
        const std::size_t d = begins ? 0 : distance(candidate);
        if (d < least || (d == least && !best)) {
            least = d;
            best = candidate;
        }
    }
    return best;
}

Result<Parsed> parse(const std::vector<std::string>& words) {
    const Walk walked = walk(words);
    for (const auto& word : words)
        if (!is_utf8(word) || word.starts_with(kShield))
            return fail(usage_error(fmt::format("'{}' is not text", escape(word)), walked.path));
    if (walked.command == nullptr) {
        if (auto error = explain_unknown(words, walked)) return fail(std::move(*error));
        return fail(usage_error(walked.path.empty()
                                    ? "a command is missing"
                                    : fmt::format("a command is missing after '{}'", walked.path),
                                walked.path));
    }
    try {
        Parser parser(*walked.command);
        auto parsed = parser.parse(words);
        if (const auto empty = missing_word(parsed); !empty.empty())
            return fail(usage_error(fmt::format("{} is empty", empty), walked.path));
        return parsed;
    } catch (const CLI::Error& error) {
        if (auto better = explain_unknown(words, walked)) return fail(std::move(*better));
        std::string what = escape(error.what());
        std::erase(what, kShield);
        return fail(Error(ErrorKind::invalid, what + ". Usage: " + usage_line(walked.path))
                        .advising(fmt::format("`understudy {} --help` tells more.", walked.path)));
    }
}

}  // namespace understudy::cli
