#pragma once

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/work.hpp"

namespace understudy::tasks {

Kind promote();
Kind move();
Kind resolve();

}  // namespace understudy::tasks
