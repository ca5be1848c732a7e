#pragma once

#include "base/ids.hpp"
#include "mover/receiver.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace understudy::tasks {

// One transfer that is being received by this process.
struct IncomingSession {
    std::mutex busy;  // one call at a time per transfer; guards the rest
    std::uint64_t attempt = 0;
    std::shared_ptr<mover::Receiver> receiver;  // nothing: no attempt is under way
};

// What tasks and the peers' calls share about transfers to here: one offer at a time, and who
// receives what. Thread-safe. Nothing of it survives the process: a peer's next offer begins again
// from the durable point of the transfer's record.
class OfferGate {
public:
    // While it is held, no offer is accepted, so one snapshot never has two transfers.
    std::unique_lock<std::mutex> close() { return std::unique_lock(offers_); }

    std::shared_ptr<IncomingSession> session(const TransferId& id) {
        const std::lock_guard lock(mutex_);
        auto& found = sessions_[id];
        if (!found) found = std::make_shared<IncomingSession>();
        return found;
    }
    // A call that still holds the session finds its transfer gone.
    void drop_session(const TransferId& id) {
        const std::lock_guard lock(mutex_);
        sessions_.erase(id);
    }
    std::vector<std::shared_ptr<IncomingSession>> sessions() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<IncomingSession>> all;
        for (const auto& [id, session] : sessions_) all.push_back(session);
        return all;
    }

private:
    std::mutex offers_;
    mutable std::mutex mutex_;  // guards sessions_
    std::unordered_map<TransferId, std::shared_ptr<IncomingSession>> sessions_;
};

}  // namespace understudy::tasks
