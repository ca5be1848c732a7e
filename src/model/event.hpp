#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace understudy::model {

// Something that an operator will want to know afterwards: a change of role, a failure, what was
// asked and by whom. Events are only added, and each one's hash includes that of the one before.
struct Event {
    std::int64_t sequence = 0;  // 1, 2, …: set by the catalog
    TimePoint time;
    std::string actor;       // who: "root (uid 0)", "API token", "understudyd", "peer dr"
    std::string kind;        // "role", "asked", "failed", "recovered", "kept", "drill"
    std::optional<VmId> vm;  // if it is about one VM
    std::string text;        // for people
    std::string hash;        // SHA-256 of the hash before and all above, hex: set by the catalog
    bool operator==(const Event&) const = default;
};

}  // namespace understudy::model
