#pragma once

#include "base/units.hpp"

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>

namespace understudy::cli {

// What a run sees of its process; tests give their own. The streams outlive the run. One thread.
struct Surroundings {
    std::istream& in;
    std::ostream& out;  // answers only: what a script reads
    std::ostream& err;  // errors, questions, progress
    bool in_is_terminal = false;
    bool out_is_terminal = false;
    bool err_is_terminal = false;
    std::function<int()> columns;  // of the terminal behind err
    std::function<std::optional<std::string>(const char*)> environment;
    std::function<TimePoint()> now;        // wall clock, for ages
    std::function<Duration()> steady_now;  // never goes back, for pacing
    std::function<void(Duration)> pause;

    // A question can be asked and its answer read.
    bool can_ask() const { return in_is_terminal && err_is_terminal; }
};

}  // namespace understudy::cli
