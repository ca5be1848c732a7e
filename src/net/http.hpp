#pragma once

#include "base/error.hpp"
#include "net/stream.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace understudy::net {

// The protocol that a connection is upgraded to for bulk data.
inline constexpr std::string_view kFramesProtocol = "understudy-frames/1";

inline constexpr std::size_t kMaxHttpHeader =
    16 * 1024;  // bytes, request or response line included

// Header fields in their order; names compare without regard to case.
class Headers {
public:
    using Field = std::pair<std::string, std::string>;

    Headers() = default;
    Headers(std::initializer_list<Field> fields) : fields_(fields) {}

    void add(std::string name, std::string value);
    const std::string* find(std::string_view name) const;  // the first one; null: none
    // Whether the comma-separated value has this token ("Connection", "upgrade").
    bool has_token(std::string_view name, std::string_view token) const;
    bool empty() const { return fields_.empty(); }
    auto begin() const { return fields_.begin(); }
    auto end() const { return fields_.end(); }

private:
    std::vector<Field> fields_;
};

struct HttpRequest {
    std::string method;                        // "GET"
    std::string target;                        // as sent: "/v1/vms/a%20b?x=1"
    std::string path;                          // of that, still encoded: "/v1/vms/a%20b"
    std::vector<std::string> segments;         // of that, decoded: {"v1", "vms", "a b"}
    std::map<std::string, std::string> query;  // decoded
    Headers headers;
    std::string body;
    std::string peer_address;                  // for logs: "10.0.0.2:40112", "unix"
    std::string peer_fingerprint;              // empty: no client certificate
    std::optional<PeerCredentials> unix_peer;  // on unix sockets
};

struct HttpResponse {
    int status = 200;
    std::string content_type = "application/json";
    std::string body;
    Headers headers;  // besides Content-Type, Content-Length and Connection
};

// Splits a request target into path, segments and query. Segments and query values are decoded; "+"
// in a query is a space. invalid: the encoding is broken, there is a NUL, a query name is given
// twice, or the target does not begin with "/".
Result<> parse_target(std::string_view target, HttpRequest& into);

std::string_view reason_phrase(int status);
// The kind of error that an answer with this status means (404 → not_found …).
ErrorKind kind_of_status(int status);
// The status for an error of this kind, in both APIs. kind_of_status(status_of(k)) == k, except for
// cancelled. If a body states a kind, that counts and not the status.
int status_of(ErrorKind kind);

}  // namespace understudy::net
