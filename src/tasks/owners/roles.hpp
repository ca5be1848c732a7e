#pragma once

#include "tasks/queue/site.hpp"

#include <string_view>

namespace understudy::tasks {

// Records who may run a VM; every such change goes through here. If the start becomes forbidden,
// the guard forbids it before the record says so; if it becomes allowed, the guard allows it after.
// Durable when it returns. `actor` is who caused the change, for the events; empty: understudyd. If
// the same is recorded already, that is a success. conflict: the record is not `vm.ownership` any
// more.
Result<> change_role(Site& site, const model::Vm& vm, const model::Ownership& next,
                     std::string_view actor);

// Makes the guard agree with the catalog about every VM: after a crash, and for new replicas.
Result<> refresh_guard(Site& site);

}  // namespace understudy::tasks
