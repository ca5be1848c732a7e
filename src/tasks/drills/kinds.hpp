#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind replica_drill();

}  // namespace understudy::tasks
