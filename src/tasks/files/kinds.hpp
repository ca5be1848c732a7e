#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind snapshot_export();
Kind snapshot_import();

}  // namespace understudy::tasks
