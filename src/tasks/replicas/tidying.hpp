#pragma once

#include "tasks/queue/site.hpp"

namespace understudy::tasks {

// Queues the removal of what a replica's volumes hold and no snapshot lists, where there is such.
Result<> tidy_replica(Site& site, const VmId& vm);

}  // namespace understudy::tasks
