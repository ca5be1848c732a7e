#include "daemon/system_world.hpp"

#include <sys/random.h>

namespace understudy::daemon {

TimePoint SystemClock::now() {
    return std::chrono::floor<Duration>(std::chrono::system_clock::now());
}

Duration SystemClock::monotonic() {
    return std::chrono::floor<Duration>(std::chrono::steady_clock::now().time_since_epoch());
}

void SystemClock::sleep(Duration time) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, time, [this] { return stopped_; });
}

void SystemClock::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    wake_.notify_all();
}

std::uint64_t SystemRandom::next() {
    std::uint64_t bits = 0;
    const auto got = getrandom(&bits, sizeof bits, 0);
    UNDERSTUDY_INVARIANT(got == sizeof bits, "getrandom gave too little");
    return bits;
}

}  // namespace understudy::daemon
