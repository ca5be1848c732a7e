#pragma once

#include "model/cluster.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace understudy::api {

// What `peer invite` prints and `peer join` takes: one line that can be pasted. It holds a one-time
// secret, so whoever has it can pair once until it expires. The inviting side keeps only a hash.
struct InviteToken {
    std::string address;      // host:port of the inviting cluster's peers' listener
    std::string fingerprint;  // of its certificate
    std::string secret;
    TimePoint expires;
};

std::string encode_token(const InviteToken& token);
// invalid: mangled (it carries a checksum), or not a token at all.
Result<InviteToken> decode_token(std::string_view text);

// Whether `theirs`, proved by this certificate, may become a peer of `ours`. refused: it is the
// same cluster, its name is taken, or it is a peer with another certificate: whoever holds an
// invitation must not become, by claiming an id, a peer that has replicas here.
Result<> check_new_peer(const model::Cluster& ours, const std::vector<model::Peer>& peers,
                        const model::Cluster& theirs, const std::string& fingerprint);

}  // namespace understudy::api
