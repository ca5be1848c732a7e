#include "model/snapshot.hpp"

#include <gtest/gtest.h>

namespace understudy::model {
namespace {

Snapshot made(std::string name, const Snapshot* parent, std::uint64_t epoch, int taken_s) {
    Snapshot snapshot;
    snapshot.id = SnapshotId::random();
    snapshot.name = std::move(name);
    if (parent != nullptr) snapshot.parent = parent->id;
    snapshot.epoch = epoch;
    snapshot.taken = TimePoint(std::chrono::seconds(taken_s));
    return snapshot;
}

std::vector<std::string> names(std::vector<Snapshot> snapshots) {
    sort_by_lineage(snapshots);
    std::vector<std::string> names;
    for (const auto& snapshot : snapshots) names.push_back(snapshot.name);
    return names;
}

TEST(SnapshotOrder, goes_by_parents_when_a_clock_stepped_back) {
    const auto first = made("first", nullptr, 1, 500);
    const auto second = made("second", &first, 1, 100);
    const auto third = made("third", &second, 1, 300);
    EXPECT_EQ(names({third, second, first}),
              (std::vector<std::string>{"first", "second", "third"}));
}

TEST(SnapshotOrder, puts_the_branch_of_the_higher_epoch_last_whatever_the_clocks) {
    const auto base = made("base", nullptr, 1, 10);
    const auto diverged = made("diverged", &base, 1, 900);
    const auto owners = made("owners", &base, 2, 20);
    EXPECT_EQ(names({owners, diverged, base}),
              (std::vector<std::string>{"base", "diverged", "owners"}));
}

TEST(SnapshotOrder, goes_by_time_where_lineage_says_nothing_and_loses_none) {
    const auto gone = made("gone", nullptr, 1, 0);
    const auto a = made("a", &gone, 1, 10);
    const auto b = made("b", nullptr, 1, 20);
    EXPECT_EQ(names({b, a}), (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(names({}).empty());
}

}  // namespace
}  // namespace understudy::model
