#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

// Every kind of task that this program runs; each is declared in kinds.hpp of its wing.
std::vector<Kind> all_kinds();

}  // namespace understudy::tasks
