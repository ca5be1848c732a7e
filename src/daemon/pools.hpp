#pragma once

#include "daemon/config.hpp"
#include "model/cluster.hpp"
#include "ports/storage.hpp"

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace understudy::daemon {

using Pools = std::map<std::string, std::shared_ptr<ports::StoragePool>>;

// One of each configured pool. A pool in Ceph opens also while Ceph is down.
Result<Pools> open_pools(const std::vector<PoolConfig>& configured);

// How much room the pools had when they were last asked. So whoever wants to tell a peer does not
// wait for storage that does not answer. Thread-safe.
class PoolRoom {
public:
    // Asks all pools, one after the other. If one gives an error, it counts as having no room.
    void look(const Pools& pools);
    // What the last look() found. If the first one is not done, waits for it, at most 1 s.
    std::vector<model::PoolCapability> known(const Pools& pools) const;

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable looked_;
    std::map<std::string, ports::Capacity> room_;
};

}  // namespace understudy::daemon
