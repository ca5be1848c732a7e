#pragma once

#include "tasks/queue/site.hpp"

#include <string_view>

namespace understudy::tasks {

// Every change of who may run a VM goes through here: what forbids its start is durable before the
// record says so, and what allows it comes after. Durable when it returns. `actor` is whose doing
// it is, for the events; empty: understudyd. Done when another has recorded the same already.
// conflict: the record is not `vm.ownership` any more.
Result<> change_role(Site& site, const model::Vm& vm, const model::Ownership& next,
                     std::string_view actor);

// The guard says of every VM what the catalog says: after a crash, and for replicas that came.
Result<> refresh_guard(Site& site);

}  // namespace understudy::tasks
