#pragma once

#include "model/cluster.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace understudy::api {

// What `peer invite` prints and `peer join` takes: one line that can be pasted. It contains a
// one-time secret: whoever has it can pair once, until it expires. The inviting side keeps only a
// hash of the secret.
struct InviteToken {
    std::string address;      // host:port of the inviting cluster's peers' listener
    std::string fingerprint;  // of its certificate
    std::string secret;
    TimePoint expires;
};

std::string encode_token(const InviteToken& token);
// invalid: it is no token, or its checksum is wrong because it was not copied whole.
Result<InviteToken> decode_token(std::string_view text);

// Whether `theirs`, which has this certificate, may become a peer of `ours`. refused: it is the
// same cluster; its name is taken; or its id is that of a peer with another certificate. Otherwise
// anyone with an invitation could claim that id and get at the replicas that the peer has here.
Result<> check_new_peer(const model::Cluster& ours, const std::vector<model::Peer>& peers,
                        const model::Cluster& theirs, const std::string& fingerprint);

}  // namespace understudy::api
