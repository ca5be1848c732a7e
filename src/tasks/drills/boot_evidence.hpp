#pragma once

#include "tasks/queue/work.hpp"

#include <nlohmann/json.hpp>
#include <string>

namespace understudy::tasks {

// What was seen of a guest that was started to be looked at.
struct BootEvidence {
    nlohmann::json report;
    std::string screen = {};   // PNG; empty: none could be taken
    std::string console = {};  // empty: it said nothing, or nobody listened
};

// Keeps the evidence on this node under a name made of `ended` and the task's id; gives the
// directory. The site has a place for evidence.
Result<std::string> keep_boot_evidence(Work& work, const VmId& vm, TimePoint ended,
                                       const BootEvidence& evidence);

}  // namespace understudy::tasks
