#pragma once

#include "base/units.hpp"
#include "tasks/queue/point.hpp"

#include <string>

namespace understudy::daemon {

// For tests alone: halts this daemon where a test wants to kill it, or its peer. `directory` is
// what the environment variable UNDERSTUDY_HALT_DIR says; empty: no hook. A file VM.POINT in it,
// when that point is reached, is renamed to VM.POINT.reached, and the work stands still until that
// file is gone, or for kLongestHalt. A file `passed` in it gets a line "VM.POINT" for each point.
tasks::PointHook halts_in(const std::string& directory);

inline constexpr Duration kLongestHalt{300'000};

}  // namespace understudy::daemon
