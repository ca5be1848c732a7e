#pragma once

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::net {

struct Endpoint {
    std::string host;  // name or address; IPv6 without brackets
    std::uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
};

// "host:port", "10.0.0.2:7373", "[fe80::1]:7373". ":port" may be left out if a default is given.
Result<Endpoint> parse_endpoint(std::string_view text,
                                std::optional<std::uint16_t> default_port = std::nullopt);
std::string format_endpoint(const Endpoint& endpoint);  // brackets around IPv6 addresses

// All descriptors are close-on-exec and non-blocking; the streams over them do the waiting.

// Host "" or "*" listens on every address. Port 0 lets the system choose (see local_port).
// conflict: the port is taken.
Result<Fd> listen_tcp(const std::string& host, std::uint16_t port);
Result<std::uint16_t> local_port(const Fd& listener);

// A socket file with exactly `mode` (0600, 0660). If a dead process has left one, it is removed.
// conflict: somebody listens there, or the path is no socket.
Result<Fd> listen_unix(const std::string& path, unsigned mode);

// The next connection. unavailable: there is none now, or the system is out of descriptors.
Result<Fd> accept_connection(const Fd& listener);

// Tries every address of the host, within `timeout` for all of them. Looking up the host's name
// takes as long as the system's resolver does. unavailable: "cannot reach NAME at HOST:PORT:
// reason"; `name` is for that text only.
Result<Fd> connect_tcp(const std::string& host, std::uint16_t port, Duration timeout,
                       std::string_view name = {});
// unavailable: nobody listens there (with advice to start understudyd).
Result<Fd> connect_unix(const std::string& path);

// Waits until the descriptor has one of `events` (POLLIN, POLLOUT), an end or an error. Without a
// timeout it waits for ever.
enum class Waited { ready, timed_out };
Result<Waited> wait_for(const Fd& fd, short events, std::optional<Duration> timeout);

}  // namespace understudy::net
