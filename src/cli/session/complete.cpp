#include "cli/session/complete.hpp"

#include "cli/grammar/walk.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

// Completion of a command line, in this order: the line is split as a shell does; the words before
// the last one say what the last one can be; the candidates for that come from the grammar or the
// daemon; those that fit are quoted for the shell. Nothing here changes anything, and no error is
// printed.

namespace understudy::cli {

using nlohmann::json;

namespace {

constexpr Duration kCompletionTimeout = std::chrono::seconds(2);
constexpr std::size_t kMaxCandidates = 1000;

// What the word under the cursor can be.
struct Wanted {
    Names names = Names::nothing;
    std::string words;     // candidates known without the daemon, separated by spaces
    std::string vm;        // named before, for snapshots
    bool options = false;  // the word begins an option
    const CommandSpec* command = nullptr;
};

void add_words(std::vector<std::string>& into, std::string_view words) {
    while (!words.empty()) {
        const auto end = std::min(words.find(' '), words.size());
        into.emplace_back(words.substr(0, end));
        words.remove_prefix(std::min(end + 1, words.size()));
    }
}

std::vector<std::string> names_from(const ApiSource& source, std::string path,
                                    std::string_view list, std::string_view field) {
    std::vector<std::string> names;
    auto api = source();
    if (!api) return names;
    auto answer = (*api)->call({"GET", std::move(path), "", kCompletionTimeout});
    if (!answer) return names;
    for (const json& element : list_at(*answer, list))
        if (auto name = find_text(element, field)) names.push_back(std::move(*name));
    return names;
}

std::vector<std::string> snapshots_of(const ApiSource& source, const std::string& vm) {
    return names_from(source, path_of({"v1", "vms", vm, "snapshots"}), "snapshots", "name");
}

std::vector<std::string> candidates_for(const Wanted& wanted, const std::string& word,
                                        const ApiSource& source) {
    std::vector<std::string> found;
    const auto vms = [&] { return names_from(source, path_of({"v1", "vms"}), "vms", "name"); };
    switch (wanted.names) {
        case Names::words: add_words(found, wanted.words); break;
        case Names::vm: return vms();
        case Names::vm_at_snapshot: {
            const auto mark = word.find('@');
            if (mark == std::string::npos) return vms();
            const std::string vm = word.substr(0, mark);
            for (const auto& name : snapshots_of(source, vm)) found.push_back(vm + "@" + name);
            break;
        }
        case Names::snapshot: return snapshots_of(source, wanted.vm.substr(0, wanted.vm.find('@')));
        case Names::replica:
            return names_from(source, path_of({"v1", "replicas"}), "replicas", "name");
        case Names::peer: return names_from(source, path_of({"v1", "peers"}), "peers", "name");
        case Names::task:
            for (const auto& id :
                 names_from(source, path_of({"v1", "tasks"}) + "?limit=50", "tasks", "id"))
                found.push_back(short_id(id));
            break;
        case Names::file:
        case Names::nothing: break;
    }
    return found;
}

std::vector<std::string> option_candidates(const Grammar& grammar, const Wanted& wanted) {
    std::vector<std::string> found;
    const auto add = [&](std::span<const OptionSpec> options) {
        for (const auto& option : options) found.push_back("--" + std::string(key_of(option)));
    };
    if (wanted.command != nullptr) add(wanted.command->options);
    add(grammar.global_options);
    return found;
}

const OptionSpec* known_option(const Grammar& grammar, const CommandSpec* command,
                               std::string_view word) {
    if (command != nullptr)
        if (const auto* own = find_option(command->options, word)) return own;
    return find_option(grammar.global_options, word);
}

// What the last of `words` can be, by those before it.
Wanted wanted_after(const Grammar& grammar, const std::vector<std::string>& words) {
    const std::string& last = words.back();
    const std::vector<std::string> before(words.begin(), words.end() - 1);
    const Walk walked = walk(grammar, before);
    Wanted wanted;
    wanted.command = walked.command;
    if (!before.empty()) {
        const auto* option = known_option(grammar, walked.command, before.back());
        if (option != nullptr && !option->value.empty()) {
            wanted.names = option->names;
            wanted.words = option->words;
        }
        if (option != nullptr && !option->value.empty() && option->names != Names::snapshot)
            return wanted;
    }
    std::vector<std::string> given;
    for (std::size_t i = walked.next; i < before.size(); ++i) {
        const auto* option = known_option(grammar, walked.command, before[i]);
        if (option == nullptr && (!before[i].starts_with('-') || before[i] == "-"))
            given.push_back(before[i]);
        else if (option != nullptr && !option->value.empty())
            ++i;
    }
    if (!given.empty()) wanted.vm = given.front();
    if (wanted.names != Names::nothing) return wanted;  // an option's snapshot of that VM
    wanted.options = last.starts_with('-');
    if (wanted.options) return wanted;
    if (walked.command == nullptr) {
        wanted.names = Names::words;
        if (walked.unknown) return wanted;
        for (const auto& child : grammar.children_of(walked.path)) wanted.words += child + " ";
        return wanted;
    }
    const auto& positionals = walked.command->positionals;
    if (positionals.empty()) return wanted;
    const bool beyond = given.size() >= positionals.size();
    if (beyond && !positionals.back().repeats) return wanted;
    const auto& positional = beyond ? positionals.back() : positionals[given.size()];
    wanted.names = positional.names;
    wanted.words = positional.words;
    return wanted;
}

bool needs_no_quoting(char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || static_cast<unsigned char>(c) >= 0x80 ||
           std::string_view("_./,+-%@:=").find(c) != std::string_view::npos;
}

// As the shell must read it to get `name` back; empty when that cannot be done here.
std::string quoted(const std::string& name, char open_quote) {
    const bool controls =
        std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < ' '; });
    if (controls || escape(name) != name) return "";
    if (open_quote == '\'') return name.find('\'') == std::string::npos ? name : "";
    std::string text;
    for (const char c : name) {
        const bool special = open_quote == '"'
                                 ? std::string_view("\"\\$`!").find(c) != std::string_view::npos
                                 : !needs_no_quoting(c);
        if (open_quote == '"' && c == '!') return "";  // no way to write it inside "…"
        if (special) text += '\\';
        text += c;
    }
    if (open_quote == '\0' && text.starts_with('~')) text.insert(0, 1, '\\');
    return text;
}

// How much of an unquoted word the shell keeps as it is: all up to its last break.
std::size_t length_before_last_break(std::string_view raw, std::string_view breaks) {
    std::size_t end = 0;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (raw[i] == '\\')
            ++i;
        else if (breaks.find(raw[i]) != std::string_view::npos)
            end = i + 1;
    }
    return std::min(end, raw.size());
}

constexpr std::string_view kBashScript =
    R"(# bash completion of understudy; printed by: understudy completion bash
_understudy() {
    local candidates
    mapfile -t candidates < <(
        "$1" __complete "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    COMPREPLY=("${candidates[@]}")
    if [[ ${#COMPREPLY[@]} -eq 0 && $3 == -c ||
        $3 == --config || $3 == --socket || $3 == --token-file ||
        $COMP_LINE =~ \ snapshot\ (ex|im)port\  ]]; then
        compopt -o default
    fi
}
complete -F _understudy understudy
)";

}  // namespace

ShellWords split_shell_words(std::string_view line) {
    ShellWords split;
    std::string word;
    bool begun = false;
    std::size_t begin = 0;
    char quote = '\0';
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        const bool blank = quote == '\0' && (c == ' ' || c == '\t' || c == '\n');
        if (blank) {
            if (begun) split.words.push_back(std::exchange(word, ""));
            begun = false;
            continue;
        }
        if (!begun) begin = i;
        begun = true;
        if (quote != '\0' && c == quote) {
            quote = '\0';
        } else if (quote == '\0' && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
            const char next = line[i + 1];
            const bool literal =
                quote == '"' && std::string_view("\"\\$`").find(next) == std::string_view::npos;
            if (literal) word += c;
            word += next;
            ++i;
        } else {
            word += c;
        }
    }
    split.raw_last = begun ? std::string(line.substr(begin)) : "";
    split.words.push_back(word);
    split.open_quote = quote;
    return split;
}

std::vector<std::string> complete_line(const Grammar& grammar, std::string_view breaks,
                                       std::string_view line, const ApiSource& source) {
    ShellWords split = split_shell_words(line);
    if (split.words.size() < 2) return {};
    split.words.erase(split.words.begin());  // the program
    std::string& last = split.words.back();
    std::string option_part;  // "--to=" of "--to=d"
    if (const auto equals = last.find('='); last.starts_with("--") && equals != last.npos) {
        option_part = last.substr(0, equals + 1);
        const std::string value = last.substr(equals + 1);
        last = last.substr(0, equals);
        split.words.push_back(value);
    }
    const std::string word = split.words.back();
    const Wanted wanted = wanted_after(grammar, split.words);
    const auto candidates =
        wanted.options ? option_candidates(grammar, wanted) : candidates_for(wanted, word, source);
    const std::size_t skip = split.open_quote == '\0'
                                 ? length_before_last_break(split.raw_last, breaks)
                                 : std::size_t{0};
    std::vector<std::string> found;
    for (const auto& candidate : candidates) {
        if (!candidate.starts_with(word) || found.size() >= kMaxCandidates) continue;
        const std::string text = quoted(option_part + candidate, split.open_quote);
        if (text.size() > skip) found.push_back(text.substr(skip));
    }
    return found;
}

int complete_command(const Grammar& grammar, const std::vector<std::string>& words,
                     Surroundings& world, const ApiSource& source) {
    if (words.size() != 3) return static_cast<int>(Exit::usage);
    for (const auto& candidate : complete_line(grammar, words[1], words[2], source))
        world.out << candidate << "\n";
    world.out << std::flush;
    return static_cast<int>(Exit::done);
}

std::string_view bash_completion_script() {
    return kBashScript;
}

}  // namespace understudy::cli
