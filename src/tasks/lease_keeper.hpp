#pragma once

#include "tasks/site.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace understudy::tasks {

// Renews a task's lease from a thread of its own while the task runs, so that a step may take
// hours. Without threads (simulation) it does nothing: leases there are long.
class LeaseKeeper {
public:
    LeaseKeeper(Site& site, const TaskId& task);
    ~LeaseKeeper();
    LeaseKeeper(const LeaseKeeper&) = delete;
    LeaseKeeper& operator=(const LeaseKeeper&) = delete;

private:
    void keep();

    Site& site_;
    TaskId task_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool done_ = false;
    std::thread thread_;
};

}  // namespace understudy::tasks
