#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "model/transfer.hpp"

#include <map>
#include <mutex>

namespace understudy::tasks {

// The codec that this daemon's last send to each peer found best. The next send begins with it,
// because a short send would be over before it had measured that again. A hint only, and forgotten
// after a while: lines change. Thread-safe.
class LinkMemory {
public:
    void learn(const ClusterId& peer, model::Codec codec, Duration monotonic_now) {
        const std::lock_guard lock(mutex_);
        learnt_[peer] = {codec, monotonic_now};
    }
    model::Codec codec(const ClusterId& peer, Duration monotonic_now) const {
        const std::lock_guard lock(mutex_);
        const auto known = learnt_.find(peer);
        const bool fresh = known != learnt_.end() && monotonic_now - known->second.at < kGoodFor;
        return fresh ? known->second.codec : model::Codec::none;
    }

private:
    static constexpr Duration kGoodFor = std::chrono::minutes(30);
    struct Learnt {
        model::Codec codec = model::Codec::none;
        Duration at{};
    };
    mutable std::mutex mutex_;
    std::map<ClusterId, Learnt> learnt_;  // as many as there are peers
};

}  // namespace understudy::tasks
