// sim_replay SEED [--calls]: one run of the simulation, told line by line.
#include "play.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <string>

int main(int count, char** words) {
    using namespace understudy::sim;
    char* end = nullptr;
    const auto seed = count > 1 ? std::strtoull(words[1], &end, 10) : 0;
    if (end == nullptr || end == words[1] || *end != '\0') {
        fmt::print(stderr, "usage: sim_replay SEED [--calls]\n");
        return 2;
    }
    const bool calls = count > 2 && std::strcmp(words[2], "--calls") == 0;
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
