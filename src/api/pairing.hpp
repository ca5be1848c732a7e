#pragma once

#include "model/cluster.hpp"

#include <string>
#include <string_view>

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

}  // namespace understudy::api
