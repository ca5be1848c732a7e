#pragma once

#include "tasks/queue/work.hpp"

namespace understudy::tasks {

// The last step of a promote that was asked to look (argument "check", with "wait" and "limit_ms"
// as of a drill): the VM that it has started is watched until it is up. It runs on whatever is
// seen; what does not come up fails the task, with the older points to choose from and evidence. An
// attempt that was cut off watches again. An operator's cancel ends the looking, nothing else.
Result<> see_it_boot(Work& work);

}  // namespace understudy::tasks
