#include "mover/throttle.hpp"

#include <algorithm>
#include <cmath>

namespace understudy::mover {
namespace {

// What an idle link may save up: enough that waking late does not cost throughput.
constexpr double kBurstSeconds = 0.1;

}  // namespace

void Throttle::refill(Duration now) {
    const auto elapsed = std::max(now - refilled_, Duration::zero());
    refilled_ = now;
    if (rate_ == 0) {
        owed_ = 0;
        return;
    }
    const auto rate = static_cast<double>(rate_);
    owed_ -= rate * std::chrono::duration<double>(elapsed).count();
    owed_ = std::max(owed_, -rate * kBurstSeconds);
}

void Throttle::set_rate(std::uint64_t bytes_per_second, Duration now) {
    if (bytes_per_second == rate_) return;
    refill(now);
    rate_ = bytes_per_second;
    if (rate_ == 0) owed_ = 0;
}

Duration Throttle::wait(Duration now) {
    refill(now);
    if (rate_ == 0 || owed_ <= 0) return Duration::zero();
    const auto seconds = owed_ / static_cast<double>(rate_);
    return Duration(std::max<std::int64_t>(1, std::llround(std::ceil(seconds * 1000))));
}

}  // namespace understudy::mover
