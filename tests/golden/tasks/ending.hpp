#pragma once

#include "stage.hpp"

#include <map>
#include <set>
#include <string>

namespace understudy::golden {

// The tasks of a host that are not ended yet.
std::set<TaskId> unfinished_tasks(Host& host);

// What both clusters are at the end, one line for each VM, snapshot with what its disks hold, hold
// and task, and for whatever should not be there ("left over"). Ids and times are left out. Of the
// tasks those that had ended before (`ended`, by the host's name) are left out, too.
std::string describe_end(Stage& stage, const std::map<std::string, std::set<TaskId>>& ended);

// On how many clusters some VM runs, at most.
int most_running(Stage& stage);

}  // namespace understudy::golden
