#pragma once

#include "ports/storage.hpp"
#include "storage/rbd/pool.hpp"

#include <rados/librados.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::rbd {

// A connection to the cluster, with the pool and namespace opened. It lives for as long as anything
// that was opened through it. Thread-safe.
class Connection {
public:
    Connection() = default;
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    librados::Rados rados;
    librados::IoCtx io;  // a full pool gives errors instead of blocking
    std::string fsid;
    std::vector<std::string> monitors;  // HOST:PORT each
};

// How a pool reaches its cluster: connects on first use, and anew after the cluster shut this
// client out. Thread-safe; every call is bounded by the settings' timeout.
class Cluster {
public:
    explicit Cluster(RbdSettings settings) : settings_(std::move(settings)) {}

    Result<std::shared_ptr<Connection>> connect();
    Result<ports::Capacity> capacity();
    // The cluster's own once it has answered; before that, what ceph.conf says.
    std::vector<std::string> monitors() const;
    // The user as whom a hypervisor logs in; empty: ceph.conf asks clients for no authentication.
    std::string guest_user() const;
    const RbdSettings& settings() const { return settings_; }
    // The error that a negative result of librados or librbd stands for.
    Error error(int result, std::string_view what);
    std::string where() const;  // "pool 'vms/ns' of Ceph (/etc/ceph/ceph.conf)"

private:
    Result<std::shared_ptr<Connection>> make();
    Result<> configure(librados::Rados& rados) const;
    Result<> open_pool(Connection& connection);
    Result<> open_namespace(Connection& connection);
    Error connect_error(int result) const;
    std::string conf_path() const;
    // What ceph.conf says of an option; empty when it says nothing or cannot be read.
    std::string conf_option(const char* name) const;

    const RbdSettings settings_;
    mutable std::mutex mutex_;
    std::mutex connecting_;                   // held over the attempt; mutex_ is not
    std::shared_ptr<Connection> connection_;  // under mutex_
    mutable std::string login_methods_;       // under mutex_; empty: ceph.conf was not read yet
};

}  // namespace understudy::rbd
