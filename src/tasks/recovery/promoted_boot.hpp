#pragma once

#include "tasks/queue/work.hpp"

namespace understudy::tasks {

// The last step of a promote that was asked to look (argument "check", with "wait" and "limit_ms"
// as of a drill): the VM that it has started is watched until it is up. The VM runs on in any case.
// If it does not come up, the task fails, and the error names the evidence and the older snapshots
// to choose from. An attempt after an interruption watches again. If the operator cancels, only the
// watching ends.
Result<> see_it_boot(Work& work);

}  // namespace understudy::tasks
