#pragma once

#include "net/identity.hpp"
#include "ports/peer_link.hpp"
#include "protocol/messages.hpp"
#include "tasks/queue/site.hpp"

#include <map>
#include <memory>
#include <mutex>

namespace understudy::api {

// Links to peers over mutual TLS 1.3 with pinned certificates. Thread-safe. If the address or the
// fingerprint in the peer's record changes, the next to() makes a new link. If a channel moves
// nothing for as long as `patience`, its calls fail.
class NetPeerLinks final : public ports::PeerLinks {
public:
    NetPeerLinks(ports::Catalog& catalog, net::Identity identity, Duration patience)
        : catalog_(catalog), identity_(std::move(identity)), patience_(patience) {}

    Result<std::shared_ptr<ports::PeerLink>> to(const ClusterId& peer) override;

private:
    struct Known {
        std::string address;
        std::string fingerprint;
        std::shared_ptr<ports::PeerLink> link;
    };

    ports::Catalog& catalog_;
    net::Identity identity_;
    Duration patience_;
    std::mutex mutex_;
    std::map<ClusterId, Known> links_;
};

// The only call that is made before the two clusters know each other. It goes to the inviting
// cluster; the token has the fingerprint of that cluster's certificate.
Result<protocol::PairReply> pair_with(const net::Identity& identity, const std::string& address,
                                      const std::string& fingerprint,
                                      const protocol::PairRequest& request);

}  // namespace understudy::api
