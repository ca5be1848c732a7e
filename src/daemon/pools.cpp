#include "daemon/pools.hpp"

#include "storage/qcow2/pool.hpp"
#include "storage/rbd/pool.hpp"

#include <fmt/format.h>

namespace understudy::daemon {
namespace {

constexpr std::chrono::milliseconds kFirstLook{1000};

struct Opener {
    const std::string& name;

    Result<std::unique_ptr<ports::StoragePool>> operator()(const Qcow2PoolConfig& files) const {
        return qcow2::open_qcow2_pool(name, files.path, qcow2::PoolSettings{files.full_format});
    }
    Result<std::unique_ptr<ports::StoragePool>> operator()(const RbdPoolConfig& ceph) const {
        rbd::RbdSettings settings;
        settings.ceph_conf = ceph.ceph_conf;
        settings.user = ceph.user;
        settings.keyring = ceph.keyring;
        settings.pool = ceph.pool;
        settings.rbd_namespace = ceph.rbd_namespace;
        settings.data_pool = ceph.data_pool;
        settings.object_size = ceph.object_size;
        settings.secret = ceph.secret;
        settings.timeout = std::chrono::ceil<std::chrono::seconds>(ceph.timeout);
        return rbd::open_rbd_pool(name, settings);
    }
};

}  // namespace

Result<Pools> open_pools(const std::vector<PoolConfig>& configured) {
    Pools pools;
    for (const auto& wanted : configured) {
        auto pool = std::visit(Opener{wanted.name}, wanted.settings);
        if (!pool)
            return fail(std::move(pool.error()).during(fmt::format("open pool '{}'", wanted.name)));
        pools.emplace(wanted.name, std::move(*pool));
    }
    return pools;
}

void PoolRoom::look(const Pools& pools) {
    for (const auto& [name, pool] : pools) {
        auto room = pool->capacity();
        const std::lock_guard lock(mutex_);
        room_[name] = room ? *room : ports::Capacity{};
    }
    looked_.notify_all();
}

std::vector<model::PoolCapability> PoolRoom::known(const Pools& pools) const {
    std::unique_lock lock(mutex_);
    looked_.wait_for(lock, kFirstLook, [&] { return room_.size() == pools.size(); });
    std::vector<model::PoolCapability> able;
    for (const auto& [name, pool] : pools) {
        const auto asked = room_.find(name);
        const auto room = asked == room_.end() ? ports::Capacity{} : asked->second;
        able.push_back({name, pool->driver(), room.total, room.free});
    }
    return able;
}

}  // namespace understudy::daemon
