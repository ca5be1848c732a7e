#include "tasks/queue/lease_keeper.hpp"

#include "tasks/queue/runner.hpp"

#include <spdlog/spdlog.h>

namespace understudy::tasks {

LeaseKeeper::LeaseKeeper(Site& site, const model::Task& task)
    : site_(site),
      task_(task.id),
      holder_(task.lease_node),
      until_(task.lease_until.value_or(site.clock.now() + kLease)) {
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
    while (!lost_ && !wake_.wait_for(lock, kLease / 6, [this] { return done_; })) {
        lock.unlock();
        renew();
        lock.lock();
    }
}

void LeaseKeeper::renew() {
    const auto next = site_.clock.now() + kLease;
    auto renewed = site_.catalog.renew_lease(task_, holder_, next);
    if (renewed) {
        until_ = next;
        return;
    }
    spdlog::warn("lease of {}: {}", task_.text(), renewed.error().text());
    // The catalog says so, or it has been silent for so long that others may take the task.
    lost_ = renewed.error().kind() == ErrorKind::conflict ||
            renewed.error().kind() == ErrorKind::not_found || site_.clock.now() >= until_;
}

}  // namespace understudy::tasks
