#include "engine/outlook.hpp"

#include <gtest/gtest.h>

namespace understudy::engine {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

ReplicaStatus fine(const std::string& name, Duration age) {
    return {name, age, std::chrono::hours(24), {}, true, true, seconds(20)};
}

TEST(Outlook, of_replicas_that_are_fine_tells_the_worst_loss_and_the_slowest_start) {
    auto slow = fine("db1", minutes(5));
    slow.ready = seconds(41);
    const auto seen = outlook("prod", {fine("web1", minutes(125)), slow});
    EXPECT_EQ(seen.text,
              "If 'prod' were lost now, all 2 of its VMs would come back here, without what was "
              "written in the last 2 h 5 m (web1); the slowest took 41.0 s to come up in its "
              "drill.");
    EXPECT_EQ(seen.worst_loss, minutes(125));
    EXPECT_EQ(seen.slowest, seconds(41));
}

TEST(Outlook, counts_nothing_that_is_known_to_be_in_the_way) {
    auto blocked = fine("web2", minutes(500));
    blocked.blocked = {"network:lan", "machine"};
    auto differs = fine("web3", minutes(1));
    differs.equal = false;
    auto dead = fine("web4", minutes(1));
    dead.boots = false;
    ReplicaStatus empty{"web5", {}, {}, {}, {}, {}, {}};
    const auto seen = outlook("prod", {blocked, differs, fine("web1", minutes(2)), dead, empty});
    EXPECT_EQ(seen.come_back, 1U);
    EXPECT_EQ(seen.worst_loss, minutes(2)) << "of what comes back";
    EXPECT_EQ(seen.text,
              "If 'prod' were lost now, 1 of 5 VMs would come back here, without what was written "
              "in the last 2 m 0 s; the slowest took 20.0 s to come up in its drill. Not web2 "
              "(network:lan, machine are in the way); web3 (it was found to differ from its "
              "source); web4 (its last drill failed); web5 (nothing of it has arrived whole yet).");
}

TEST(Outlook, of_what_was_never_drilled_promises_no_time) {
    auto never = fine("web1", minutes(2));
    never.boots.reset();
    EXPECT_EQ(outlook("prod", {never}).text,
              "If 'prod' were lost now, its one VM here would come back, without what was written "
              "in the last 2 m 0 s; how long it would take is unknown: no drill has passed.");
    EXPECT_EQ(outlook("prod", {never, fine("web2", minutes(1))}).text,
              "If 'prod' were lost now, all 2 of its VMs would come back here, without what was "
              "written in the last 2 m 0 s (web1); the slowest took 20.0 s to come up in its "
              "drill, 1 never drilled.");
}

TEST(Outlook, says_when_nothing_comes_back_and_what_is_late) {
    auto late = fine("web1", minutes(2));
    late.target = minutes(1);
    late.boots = false;
    EXPECT_EQ(outlook("prod", {late}).text,
              "If 'prod' were lost now, its one VM here would NOT come back. Not web1 (its last "
              "drill failed). Later than wished: web1.");
    EXPECT_EQ(outlook("prod", {late, late}).late, 2U);
    late.target = minutes(2);
    EXPECT_FALSE(late.is_late()) << "just in time";
}

}  // namespace
}  // namespace understudy::engine
