#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

namespace understudy::sim {

// For each call that a daemon makes: `attempt` lets the daemon die at its nth call, for nth = 1, 2,
// 3 and so on, and returns whether the daemon ended its work before it made so many. Then all calls
// were tried; there must be more than `at_least`. Stops at the first attempt with a failure.
inline void at_every_call(unsigned at_least, const std::function<bool(unsigned nth)>& attempt) {
    for (unsigned nth = 1; nth < 2000; ++nth) {
        SCOPED_TRACE(fmt::format("at call {}", nth));
        const bool ended_before = attempt(nth);
        EXPECT_TRUE(!ended_before || nth > at_least) << "there are more calls than that";
        if (ended_before || testing::Test::HasFailure()) return;
    }
    ADD_FAILURE() << "it never ends without its daemon's death";
}

}  // namespace understudy::sim
