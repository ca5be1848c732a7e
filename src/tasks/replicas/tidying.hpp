#pragma once

#include "tasks/queue/site.hpp"

namespace understudy::tasks {

// Queues the removal of content in a replica's volumes that no snapshot lists, if there is any.
Result<> tidy_replica(Site& site, const VmId& vm);

}  // namespace understudy::tasks
