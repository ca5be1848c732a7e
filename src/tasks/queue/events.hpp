#pragma once

#include "model/event.hpp"
#include "tasks/queue/site.hpp"

#include <string_view>

namespace understudy::tasks {

// An event of now. `actor` is who caused it; empty: understudyd.
model::Event new_event(Site& site, std::string_view actor, std::string_view kind,
                       std::optional<VmId> vm, std::string text);

// Records one. An event that cannot be recorded goes to the log and stops nothing. Any thread.
void record_event(Site& site, std::string_view actor, std::string_view kind, std::optional<VmId> vm,
                  std::string text);

}  // namespace understudy::tasks
