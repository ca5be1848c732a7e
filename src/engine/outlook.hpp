#pragma once

#include "base/units.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::engine {

// What is known of one replica, for the question what would become of its VM if its cluster were
// lost now. Nothing: not known.
struct ReplicaStatus {
    std::string name;
    std::optional<Duration> age;       // of its newest complete, verified snapshot
    std::optional<Duration> target;    // how old that may be
    std::vector<std::string> blocked;  // keys of what is in the way of its start here
    std::optional<bool> equal;         // as its last verification found it
    std::optional<bool> boots;         // as its last drill found it
    Duration ready{0};                 // how long it took to be up then

    bool is_late() const { return target && age && *age > *target; }
};

// Why it would not come back; empty: nothing is known to be in the way.
std::string why_not(const ReplicaStatus& replica);

// All replicas from one peer in one look.
struct Outlook {
    std::size_t all = 0;
    std::size_t come_back = 0;
    std::optional<Duration> worst_loss;  // among those that come back
    std::optional<Duration> slowest;     // of those whose last drill passed
    std::size_t undrilled = 0;           // among those that come back
    std::size_t late = 0;
    std::string text;  // one sentence or a few, for people
};
Outlook outlook(const std::string& peer, const std::vector<ReplicaStatus>& replicas);

}  // namespace understudy::engine
