#pragma once

#include "base/units.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::engine {

// What is known of one replica, to tell what would happen to its VM if the owner's cluster were
// lost now. An empty optional: not known.
struct ReplicaStatus {
    std::string name;
    std::optional<Duration> age;       // of its newest complete, verified snapshot
    std::optional<Duration> target;    // how old that may be
    std::vector<std::string> blocked;  // keys of the issues that block its start here
    std::optional<bool> equal;         // to its source, at its last verification
    std::optional<bool> boots;         // at its last drill
    Duration ready{0};                 // how long it took to be up in that drill

    bool is_late() const { return target && age && *age > *target; }
};

// Why the VM would not come back. Empty: nothing is known that would prevent it.
std::string why_not(const ReplicaStatus& replica);

// All replicas from one peer, summed up.
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
