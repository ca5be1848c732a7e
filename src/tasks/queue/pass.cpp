#include "tasks/queue/pass.hpp"

#include <algorithm>

namespace understudy::tasks {
namespace {

constexpr Duration kTouchEvery = std::chrono::minutes(1);

}  // namespace

Pass::Pass(Work& work, std::uint64_t total_bytes)
    : work_(work),
      total_(total_bytes),
      began_(work.site().clock.monotonic()),
      touched_at_(began_) {}

std::function<Result<>(ByteSize)> Pass::counting(std::string disk) {
    return [this, disk = std::move(disk)](ByteSize more) { return count(more, disk); };
}

Result<> Pass::count(ByteSize more, const std::string& disk) {
    done_ += more.count();
    const auto now = work_.site().clock.monotonic();
    const auto milliseconds = static_cast<std::uint64_t>((now - began_).count());
    model::Progress progress;
    progress.done_bytes = done_;
    progress.total_bytes = std::max(total_, done_);
    progress.rate_bytes = milliseconds == 0 ? 0 : done_ * 1000 / milliseconds;
    progress.note = disk;
    work_.progress(progress);
    if (touched && now - touched_at_ >= kTouchEvery) {
        touched_at_ = now;
        UNDERSTUDY_TRY(touched(done_));
    }
    return work_.checkpoint();
}

}  // namespace understudy::tasks
