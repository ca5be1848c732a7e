#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace understudy::libvirt {

// A guest's file systems, frozen for at most `limit`. They are thawed when asked, when the limit
// passes (by a thread of its own) or when this goes out of scope, whichever comes first. A thaw
// that fails is tried again. If it failed when the limit passed (a paused guest hears nothing), it
// is tried once more when asked. A freeze that failed is thawed as well: the guest may have frozen
// and only the answer was lost.
class Freeze {
public:
    using Call = std::function<Result<>()>;

    // Calls `freeze` at once. Both calls must be safe to run beside other calls for the same VM.
    Freeze(const Call& freeze, Call thaw, Duration limit);
    ~Freeze();
    Freeze(const Freeze&) = delete;
    Freeze& operator=(const Freeze&) = delete;

    // Whether it has been frozen since the constructor and nobody has begun to thaw it.
    bool held();
    // Whether it was held until now.
    bool thaw();

private:
    enum class State { frozen, thawing, thawed };

    void thaw_locked(std::unique_lock<std::mutex>& lock);
    void watch(Duration limit);

    const Call thaw_;
    std::mutex mutex_;
    std::condition_variable changed_;
    State state_ = State::frozen;
    bool held_ = false;   // frozen, and the limit has not passed
    bool asked_ = false;  // to thaw
    std::thread watchdog_;
};

}  // namespace understudy::libvirt
