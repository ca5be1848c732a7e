#pragma once

#include "tasks/queue/site.hpp"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace understudy::api {

struct MoveWishes {
    model::Vm vm;
    model::Peer peer;
    std::vector<std::string> accept;
    Duration limit{0};             // for the guest to shut down
    std::uint64_t rate_bytes = 0;  // per second; 0: no limit
};

// What a move would send and how long the VM would be down, as far as that is known. It is
// estimated from the plan of sending the newest snapshot, what is allocated in the heads since, the
// rate of the last large send to that peer, and the downtime of the last move of this VM. What is
// not known is null. OPERATORS.md lists the fields.
Result<nlohmann::json> move_preview(tasks::Site& site, const MoveWishes& wishes);

}  // namespace understudy::api
