#pragma once

#include "net/http_server.hpp"
#include "net/identity.hpp"
#include "protocol/paths.hpp"
#include "tasks/replicas/receiving.hpp"

#include <functional>

namespace understudy::api {

// The peers' API on 7373. A request is a peer's if the certificate of its TLS session was pinned at
// pairing. Anybody else reaches only the pairing call.
class PeerServer {
public:
    // `capabilities` gives ours, fresh. All are borrowed.
    PeerServer(tasks::Site& site, tasks::Receiving& receiving,
               std::function<model::Capabilities()> capabilities);

    Result<> start(Fd listener, const net::Identity& identity);
    void stop();

private:
    net::HttpResponse handle(const net::HttpRequest& request);
    Result<std::string> answer(const net::HttpRequest& request, const protocol::Route& route);
    Result<std::shared_ptr<mover::Receiver>> join(const net::HttpRequest& request,
                                                  const protocol::Route& route);
    Result<std::string> compare(const model::Peer& peer, protocol::Call call,
                                const std::string& body);
    Result<std::string> pair(const net::HttpRequest& request);
    Result<std::string> ownership(const model::Peer& peer, const std::string& body);
    void upgraded(const net::HttpRequest& request, std::unique_ptr<net::Stream> stream);
    Result<model::Peer> peer_of(const net::HttpRequest& request);

    tasks::Site& site_;
    tasks::Receiving& receiving_;
    std::function<model::Capabilities()> capabilities_;
    net::HttpServer server_;
};

}  // namespace understudy::api
