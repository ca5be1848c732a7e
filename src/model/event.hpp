#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace understudy::model {

// Something that an operator will want to know afterwards: a change of role, a failure, what was
// asked and by whom. Append-only, each chained to the one before by its hash.
struct Event {
    std::int64_t sequence = 0;  // 1, 2, …: the catalog's
    TimePoint time;
    std::string actor;       // who: "root (uid 0)", "API token", "understudyd", "peer dr"
    std::string kind;        // "role", "asked", "failed", "recovered", "kept", "peer"
    std::optional<VmId> vm;  // whose it is, where it is one VM's
    std::string text;        // for people
    std::string hash;        // SHA-256 of the one before and of all above, hex: the catalog's
    bool operator==(const Event&) const = default;
};

}  // namespace understudy::model
