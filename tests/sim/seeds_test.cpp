#include "play.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace understudy::sim {
namespace {

constexpr std::uint64_t kSeeds = 10'000;
constexpr unsigned kEnough = 5;  // broken ones tell no more

std::uint64_t seeds() {
    const char* few = std::getenv("UNDERSTUDY_SEEDS");
    return few == nullptr ? kSeeds : std::strtoull(few, nullptr, 10);
}

void play_seeds(std::uint64_t first) {
    spdlog::set_level(spdlog::level::off);
    unsigned failed = 0;
    for (auto seed = first; seed < seeds() && failed < kEnough; seed += 2) {
        const auto outcome = play(seed);
        if (!outcome.broken.empty()) ++failed;
        for (const auto& broken : outcome.broken)
            ADD_FAILURE() << "seed " << seed << ": " << broken << "\n  ./dev sim " << seed;
    }
}

// Good days: snapshots, sends, disks that come, go and grow.
TEST(Seeds, even_ones_keep_all_promises) {
    play_seeds(0);
}

// Bad days: moves, promotes, and what comes of them.
TEST(Seeds, odd_ones_keep_all_promises) {
    play_seeds(1);
}

TEST(Seeds, the_same_one_is_the_same_run) {
    spdlog::set_level(spdlog::level::off);
    for (const std::uint64_t seed : {7, 8, 9}) {
        const auto first = play(seed);
        const auto second = play(seed);
        EXPECT_EQ(first.trace_hash, second.trace_hash) << seed;
        EXPECT_EQ(first.calls, second.calls) << seed;
    }
    EXPECT_NE(play(7).trace_hash, play(8).trace_hash);
}

}  // namespace
}  // namespace understudy::sim
