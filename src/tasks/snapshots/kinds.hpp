#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind snapshot_create();
Kind snapshot_remove();
Kind snapshot_rollback();
Kind release();

}  // namespace understudy::tasks
