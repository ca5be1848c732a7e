// sim_replay SEED [--calls]: one run of the simulation, told line by line.
// sim_replay FIRST LAST: many, of which only the failed ones are named.
// sim_replay --first-broken FIRST LAST: the same, up to the first of them.
#include "play.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::sim {
namespace {

std::optional<std::uint64_t> number(const std::string& word) {
    char* end = nullptr;
    const auto value = std::strtoull(word.c_str(), &end, 10);
    if (word.empty() || *end != '\0') return std::nullopt;
    return value;
}

int replay(std::uint64_t seed, bool calls) {
    // What the daemons log stands between the events that led to it.
    spdlog::set_default_logger(spdlog::stdout_logger_st("daemon"));
    spdlog::set_pattern("               log %v");
    spdlog::flush_on(spdlog::level::trace);
    const auto outcome = play(seed, calls ? Trace::Loud::calls : Trace::Loud::events);
    fmt::print("seed {}: {} calls, trace {:016x}\n", seed, outcome.calls, outcome.trace_hash);
    for (const auto& broken : outcome.broken) fmt::print("BROKEN {}\n", broken);
    if (outcome.broken.empty()) fmt::print("all promises were kept\n");
    return outcome.broken.empty() ? 0 : 1;
}

int replay_all(std::uint64_t first, std::uint64_t last, bool first_broken) {
    spdlog::set_level(spdlog::level::off);
    std::uint64_t failed = 0;
    for (auto seed = first; seed <= last; ++seed) {
        const auto outcome = play(seed);
        if (!outcome.broken.empty()) ++failed;
        for (const auto& broken : outcome.broken) fmt::print("seed {}: {}\n", seed, broken);
        std::fflush(stdout);
        if (failed > 0 && first_broken) return 1;
    }
    fmt::print("{} of {} seeds broke a promise\n", failed, last - first + 1);
    return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace understudy::sim

int main(int count, char** values) {
    std::vector<std::string> words(values + 1, values + count);
    const bool first_broken = words.size() == 3 && words[0] == "--first-broken";
    if (first_broken) words.erase(words.begin());
    const auto first = words.empty() ? std::nullopt : understudy::sim::number(words[0]);
    const bool calls = words.size() == 2 && words[1] == "--calls";
    const auto last = words.size() == 2 ? understudy::sim::number(words[1]) : std::nullopt;
    if (first && (words.size() == 1 || calls)) return understudy::sim::replay(*first, calls);
    if (first && last) return understudy::sim::replay_all(*first, *last, first_broken);
    fmt::print(stderr,
               "usage: sim_replay SEED [--calls]\n"
               "       sim_replay [--first-broken] FIRST LAST\n");
    return 2;
}
