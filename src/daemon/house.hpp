#pragma once

#include "api/operators.hpp"
#include "api/peer_client.hpp"
#include "api/peer_server.hpp"
#include "daemon/config.hpp"
#include "daemon/pools.hpp"
#include "daemon/system_world.hpp"
#include "tasks/queue/runner.hpp"

#include <memory>
#include <thread>
#include <vector>

namespace understudy::daemon {

// One cluster's objects on this node: catalog, pools, hypervisor, the peers' listener, the workers
// and the periodic contact with peers. Made once the cluster is known. The destructor stops all,
// the given clock, too.
class House {
public:
    static Result<std::unique_ptr<House>> open(const Config& config, const model::Cluster& cluster,
                                               std::shared_ptr<ports::Catalog> catalog,
                                               const net::Identity& identity, SystemClock& clock);
    ~House();
    House(const House&) = delete;
    House& operator=(const House&) = delete;

    // To be called before the operators' listeners stop: calls that wait for news answer at once.
    void quiet();

    net::HttpResponse handle(const net::HttpRequest& request) {
        return operators_->handle(request);
    }

private:
    House(const Config& config, const model::Cluster& cluster,
          std::shared_ptr<ports::Catalog> catalog, std::unique_ptr<ports::Hypervisor> hypervisor,
          const net::Identity& identity, SystemClock& clock);

    Result<> listen(const net::Identity& identity);
    void work(std::size_t worker);
    void keep_contact();
    void watch_room();
    model::Capabilities capabilities();

    Config config_;
    std::shared_ptr<ports::Catalog> catalog_;
    std::unique_ptr<ports::Hypervisor> hypervisor_;
    SystemClock& clock_;
    SystemRandom random_;
    PoolRoom room_;
    api::NetPeerLinks links_;
    tasks::Site site_;
    tasks::Receiving receiving_;
    tasks::Runner runner_;
    std::unique_ptr<api::Operators> operators_;
    std::unique_ptr<api::PeerServer> peers_;
    std::vector<std::thread> threads_;
};

}  // namespace understudy::daemon
