#pragma once

#include "daemon/house.hpp"

#include <mutex>
#include <shared_mutex>

namespace understudy::daemon {

// The operators' listeners (unix socket; HTTPS with a token). Requests go to the house. Before
// `cluster init` there is no house, and only GET and POST /v1/cluster are answered.
class FrontDoor {
public:
    explicit FrontDoor(Config config) : config_(std::move(config)) {}
    ~FrontDoor();
    FrontDoor(const FrontDoor&) = delete;
    FrontDoor& operator=(const FrontDoor&) = delete;

    Result<> open();
    void close();

private:
    Result<> lock_state();
    Result<> open_house(const model::Cluster& cluster);
    Result<> listen_unix();
    Result<> listen_https();
    Result<std::string> token();
    net::HttpResponse handle(const net::HttpRequest& request);
    net::HttpResponse status_before_init() const;
    net::HttpResponse before_init(const net::HttpRequest& request);
    Result<> init_cluster(const std::string& name);

    Config config_;
    SystemClock clock_;
    SystemRandom random_;
    Fd lock_;  // held for as long as this process lives
    std::shared_ptr<ports::Catalog> catalog_;
    net::Identity identity_;
    net::HttpServer unix_server_;
    net::HttpServer https_server_;
    std::shared_mutex mutex_;  // guards house_: shared to use it, alone to make it
    std::unique_ptr<House> house_;
};

}  // namespace understudy::daemon
