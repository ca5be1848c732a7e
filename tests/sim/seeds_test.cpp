#include "play.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace understudy::sim {
namespace {

// As many as fit into about 50 s on one core for each half.
constexpr std::uint64_t kSeeds = 4000;

void play_seeds(std::uint64_t first) {
    spdlog::set_level(spdlog::level::off);
    for (auto seed = first; seed < kSeeds; seed += 2) {
        const auto outcome = play(seed);
        for (const auto& broken : outcome.broken)
            ADD_FAILURE() << "seed " << seed << ": " << broken << "\n  ./dev sim " << seed;
    }
}

TEST(Seeds, even_ones_keep_all_promises) {
    play_seeds(0);
}

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
