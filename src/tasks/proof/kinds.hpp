#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind replica_verify();
Kind replica_repair();

}  // namespace understudy::tasks
