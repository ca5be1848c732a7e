#include "tasks/lease_keeper.hpp"

#include "tasks/runner.hpp"

#include <spdlog/spdlog.h>

namespace understudy::tasks {

LeaseKeeper::LeaseKeeper(Site& site, const TaskId& task) : site_(site), task_(task) {
    if (site.settings.threads) thread_ = std::thread([this] { keep(); });
}

LeaseKeeper::~LeaseKeeper() {
    {
        const std::lock_guard lock(mutex_);
        done_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void LeaseKeeper::keep() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kLease / 3, [this] { return done_; })) {
        auto renewed =
            site_.catalog.renew_lease(task_, site_.settings.node, site_.clock.now() + kLease);
        if (!renewed) spdlog::warn("lease of {}: {}", task_.text(), renewed.error().text());
    }
}

}  // namespace understudy::tasks
