#include "cli/grammar/walk.hpp"

#include <algorithm>
#include <numeric>

namespace understudy::cli {

Walk walk(const Grammar& grammar, const std::vector<std::string>& words) {
    Walk walked;
    std::size_t i = 0;
    for (; i < words.size() && walked.command == nullptr; ++i) {
        const std::string& word = words[i];
        if (word.starts_with('-') && word.size() > 1) {
            const auto* option = find_option(grammar.global_options, word);
            if (option != nullptr && !option->value.empty()) ++i;  // its value
            continue;
        }
        const std::string deeper = walked.path.empty() ? word : walked.path + " " + word;
        const auto* command = grammar.find_command(deeper);
        if (command == nullptr && grammar.find_group(deeper) == nullptr) {
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

}  // namespace understudy::cli
