#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind send();
Kind replica_remove();
Kind replica_tidy();

}  // namespace understudy::tasks
