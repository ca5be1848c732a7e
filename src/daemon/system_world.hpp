#pragma once

#include "ports/world.hpp"

#include <condition_variable>
#include <mutex>

namespace understudy::daemon {

class SystemClock final : public ports::Clock {
public:
    TimePoint now() override;
    Duration monotonic() override;
    void sleep(Duration time) override;
    void stop();  // wakes all sleepers; from then on sleep() returns at once

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopped_ = false;
};

class SystemRandom final : public ports::Random {
public:
    std::uint64_t next() override;
};

}  // namespace understudy::daemon
