#pragma once

#include "base/units.hpp"

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace understudy::tasks {

// Wakes whoever waits for something that the catalog holds, on this node. A hint only: a change by
// another node rings no bell here, so every wait has a bound and looks again. Thread-safe.
class Bell {
public:
    void ring() {
        {
            const std::lock_guard lock(mutex_);
            ++rung_;
        }
        wake_.notify_all();
    }
    // To be read before looking at the catalog, so that a ring in between is not missed.
    std::uint64_t rung() const {
        const std::lock_guard lock(mutex_);
        return rung_;
    }
    // Waits until it was rung after `seen`, or was closed, but at most this long.
    void wait(std::uint64_t seen, Duration at_most) {
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, at_most, [&] { return closed_ || rung_ != seen; });
    }
    // Nobody waits any more: the daemon is stopping.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        wake_.notify_all();
    }
    bool closed() const {
        const std::lock_guard lock(mutex_);
        return closed_;
    }

private:
    mutable std::mutex mutex_;  // guards everything below
    std::condition_variable wake_;
    std::uint64_t rung_ = 0;
    bool closed_ = false;
};

struct Bells {
    Bell queued;   // a task may be claimed now
    Bell changed;  // a task's state, step or progress is new
};

}  // namespace understudy::tasks
