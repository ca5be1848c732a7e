#pragma once

#include "base/units.hpp"

#include <cstdint>

namespace understudy::mover {

// A token bucket for bytes on the wire. A send may overdraw it and the next one waits, so that
// chunks larger than the bucket pass, too. Pure: the caller gives the monotonic time. Not
// thread-safe.
class Throttle {
public:
    // Bytes per second, 0 = no limit. Takes effect at once, for what is owed already, too.
    void set_rate(std::uint64_t bytes_per_second, Duration now);

    // How long to wait before the next send; zero: go.
    Duration wait(Duration now);
    void spend(std::uint64_t bytes) { owed_ += static_cast<double>(bytes); }

private:
    void refill(Duration now);

    std::uint64_t rate_ = 0;
    double owed_ = 0;  // bytes; negative: saved up for a burst
    Duration refilled_{};
};

}  // namespace understudy::mover
