#pragma once

#include "base/units.hpp"
#include "tasks/queue/point.hpp"

#include <string>

namespace understudy::daemon {

// For tests only: halts this daemon at a point where a test wants to kill it or its peer.
// `directory` is the value of the environment variable UNDERSTUDY_HALT_DIR; empty: no hook. If the
// work reaches a point and there is a file VM.POINT in it, that is renamed to VM.POINT.reached, and
// the work stands still until that file is gone, at most for kLongestHalt. If there is a file
// `passed` in it, each point that is reached appends a line "VM.POINT".
tasks::PointHook halts_in(const std::string& directory);

inline constexpr Duration kLongestHalt{300'000};

}  // namespace understudy::daemon
