#include "hypervisor/libvirt/freeze.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

namespace understudy::libvirt {
namespace {

using std::chrono::milliseconds;

constexpr Duration kLong{60'000};
constexpr Duration kShort{20};

Result<> answers() {
    return {};
}
Result<> refuses() {
    return fail(ErrorKind::unavailable, "guest agent does not answer");
}

// Counts calls and lets a test wait for the first one.
struct Thaws {
    std::atomic<int> count{0};
    std::promise<void> first;
    Freeze::Call call() {
        return [this]() -> Result<> {
            if (count++ == 0) first.set_value();
            return {};
        };
    }
};

TEST(Freeze, thaws_once_and_tells_that_it_held) {
    Thaws thaws;
    {
        Freeze freeze(answers, thaws.call(), kLong);
        EXPECT_EQ(thaws.count, 0);
        EXPECT_TRUE(freeze.thaw());
        EXPECT_FALSE(freeze.thaw());
    }
    EXPECT_EQ(thaws.count, 1);
}

TEST(Freeze, thaws_when_it_goes_out_of_scope) {
    Thaws thaws;
    {
        const Freeze freeze(answers, thaws.call(), kLong);
    }
    EXPECT_EQ(thaws.count, 1);
}

TEST(Freeze, thaws_by_itself_when_the_limit_passes) {
    Thaws thaws;
    Freeze freeze(answers, thaws.call(), kShort);
    ASSERT_EQ(thaws.first.get_future().wait_for(std::chrono::seconds(10)),
              std::future_status::ready);
    EXPECT_FALSE(freeze.thaw());
    EXPECT_EQ(thaws.count, 1);
}

TEST(Freeze, failed_freeze_is_thawed_and_does_not_hold) {
    Thaws thaws;
    Freeze freeze(refuses, thaws.call(), kLong);
    EXPECT_EQ(thaws.count, 1);
    EXPECT_FALSE(freeze.thaw());
}

TEST(Freeze, freeze_that_outlasts_the_limit_is_thawed_after_it_ended) {
    std::atomic<bool> frozen{false};
    std::atomic<int> thaws{0};
    std::promise<void> thawed;
    Freeze freeze(
        [&]() -> Result<> {
            // The watchdog's thaw reaches a guest that has not frozen yet.
            thawed.get_future().wait_for(std::chrono::seconds(10));
            frozen = true;
            return {};
        },
        [&]() -> Result<> {
            if (thaws++ == 0) thawed.set_value();
            frozen = false;
            return {};
        },
        kShort);
    EXPECT_FALSE(frozen);
    EXPECT_FALSE(freeze.thaw());
    EXPECT_EQ(thaws, 2);
}

TEST(Freeze, guest_that_could_not_be_thawed_at_the_limit_is_thawed_when_it_goes_on) {
    std::atomic<bool> paused{true};
    std::atomic<int> attempts{0};
    Freeze freeze(
        answers,
        [&]() -> Result<> {
            ++attempts;
            if (paused) return refuses();
            return {};
        },
        kShort);
    while (attempts == 0) std::this_thread::yield();
    EXPECT_FALSE(freeze.held());
    while (attempts < 5) std::this_thread::yield();
    paused = false;
    EXPECT_FALSE(freeze.thaw());
    EXPECT_EQ(attempts, 6);
}

TEST(Freeze, holds_until_asked_or_the_limit) {
    Thaws thaws;
    Freeze freeze(answers, thaws.call(), kLong);
    EXPECT_TRUE(freeze.held());
    freeze.thaw();
    EXPECT_FALSE(freeze.held());
}

TEST(Freeze, failing_thaw_is_tried_again) {
    int attempts = 0;
    Freeze freeze(
        answers,
        [&]() -> Result<> {
            if (++attempts < 3) return refuses();
            return {};
        },
        kLong);
    EXPECT_TRUE(freeze.thaw());
    EXPECT_EQ(attempts, 3);
}

}  // namespace
}  // namespace understudy::libvirt
