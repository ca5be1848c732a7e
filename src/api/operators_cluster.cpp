#include "api/cluster_status.hpp"
#include "api/operators_calls.hpp"

#include "model/json.hpp"

#include <fmt/format.h>

namespace understudy::api {
namespace {

using nlohmann::json;

Result<Reply> status(const Asked& asked) {
    auto& site = asked.site();
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    auto peers = UNDERSTUDY_VALUE(site.catalog.peers());
    auto active = UNDERSTUDY_VALUE(site.catalog.tasks({.active_only = true, .limit = 1000}));
    std::size_t replicas = 0;
    for (const auto& vm : vms) replicas += vm.ownership.phase == model::Phase::replica;
    std::size_t running = 0;
    for (const auto& task : active) running += task.state == model::TaskState::running;
    const auto listed = site.hypervisor.list();
    const auto capabilities = asked.context.capabilities();
    return Reply{200, status_json({.cluster = site.cluster,
                                   .version = capabilities.version,
                                   .node = site.settings.node,
                                   .hypervisor_uri = asked.context.hypervisor_uri,
                                   .hypervisor_ok = listed.has_value(),
                                   .hypervisor_error = listed ? "" : listed.error().text(),
                                   .pools = capabilities.pools,
                                   .peers = peers.size(),
                                   .vms = vms.size() - replicas,
                                   .replicas = replicas,
                                   .tasks_running = running,
                                   .listen_peers = asked.context.peers_address,
                                   .listen_api = asked.context.api_address})};
}

Result<Reply> init(const Asked& asked) {
    auto name = UNDERSTUDY_VALUE(text_field(asked.body, "name"));
    auto& site = asked.site();
    if (name != site.cluster.name)
        return fail(Error(ErrorKind::refused,
                          fmt::format("this is cluster '{}' already", site.cluster.name))
                        .advising("A node belongs to one cluster."));
    return Reply{200, {{"cluster", site.cluster}}};
}

}  // namespace

json status_json(const ClusterStatus& status) {
    return {{"cluster", status.cluster ? json(*status.cluster) : json(nullptr)},
            {"version", status.version},
            {"node", status.node},
            {"hypervisor",
             {{"uri", status.hypervisor_uri},
              {"ok", status.hypervisor_ok},
              {"error", status.hypervisor_error}}},
            {"pools", status.pools},
            {"peers", status.peers},
            {"vms", status.vms},
            {"replicas", status.replicas},
            {"tasks_running", status.tasks_running},
            {"listen_peers", status.listen_peers},
            {"listen_api", status.listen_api}};
}

Answer answer_cluster(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "cluster") return std::nullopt;
    if (asked.is("GET", 1)) return status(asked);
    if (asked.is("POST", 1)) return init(asked);
    return std::nullopt;
}

}  // namespace understudy::api
