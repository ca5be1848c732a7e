#pragma once

#include "tasks/queue/site.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace understudy::tasks {

// Renews a task's lease from a thread of its own while the task runs, so that a step may take
// hours. Without threads (simulation) it does nothing: leases there are long.
class LeaseKeeper {
public:
    // The task as it was claimed: its lease_node is who holds the lease, until its lease_until.
    LeaseKeeper(Site& site, const model::Task& task);
    ~LeaseKeeper();
    LeaseKeeper(const LeaseKeeper&) = delete;
    LeaseKeeper& operator=(const LeaseKeeper&) = delete;

    // Somebody else may run the task now: this attempt has to stop.
    bool lost() const { return lost_; }

private:
    void keep();
    void renew();

    Site& site_;
    TaskId task_;
    std::string holder_;
    TimePoint until_;
    std::atomic<bool> lost_ = false;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool done_ = false;
    std::thread thread_;
};

}  // namespace understudy::tasks
