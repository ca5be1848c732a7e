#pragma once

#include "model/cluster.hpp"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace understudy::api {

// What GET /v1/cluster answers; before `cluster init` most of it is not known yet.
struct ClusterStatus {
    std::optional<model::Cluster> cluster;
    std::string version;
    std::string node;
    std::string hypervisor_uri;
    bool hypervisor_ok = false;
    std::string hypervisor_error;  // empty with ok = false: not asked yet
    std::vector<model::PoolCapability> pools;
    std::size_t peers = 0;
    std::size_t vms = 0;
    std::size_t replicas = 0;
    std::size_t tasks_running = 0;
    std::string listen_peers;
    std::string listen_api;  // empty: none
};

nlohmann::json status_json(const ClusterStatus& status);

}  // namespace understudy::api
