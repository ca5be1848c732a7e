#pragma once

#include "checks.hpp"
#include "play.hpp"

#include <gmock/gmock.h>

namespace understudy::sim {

// The end of a test: what is done is done, and nothing is left over.
inline void expect_all_well(World& world) {
    settle(world);
    check_promises(world);
    check_settled(world);
    EXPECT_THAT(world.broken_promises(), testing::IsEmpty());
}

}  // namespace understudy::sim
