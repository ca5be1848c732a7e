#include "tasks/queue/site.hpp"

#include <fmt/format.h>

namespace understudy::tasks {

Result<ports::StoragePool*> Site::pool(const std::string& name) const {
    const auto found = pools.find(name);
    if (found != pools.end()) return found->second.get();
    std::string known;
    for (const auto& [pool_name, pool] : pools) known += (known.empty() ? "" : ", ") + pool_name;
    return fail(Error(ErrorKind::not_found, fmt::format("no pool '{}' on this cluster", name))
                    .advising(fmt::format("Its pools are: {}. A peer's pool is mapped with "
                                          "`understudy peer map PEER pool THERE=HERE`.",
                                          known.empty() ? "none" : known)));
}

std::string cluster_name(Site& site, const ClusterId& id) {
    if (id == site.cluster.id) return site.cluster.name;
    auto peer = site.catalog.peer(id);
    return peer ? peer->name : id.text();
}

}  // namespace understudy::tasks
