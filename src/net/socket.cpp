#include "net/socket.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <memory>

// Sockets: parsing addresses, listening, connecting, accepting, waiting. Every descriptor is
// non-blocking and close-on-exec. listen_tcp tries IPv6 first, which takes IPv4 as well.
// listen_unix removes a socket file on which nobody listens, as a daemon that was killed leaves it.
// connect_tcp tries one address after the other until the deadline; only the name's look-up has no
// bound here.

namespace understudy::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBacklog = 128;
constexpr int kSocketFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;

std::string reason_of(int error_number) {
    std::string text = std::strerror(error_number);
    if (!text.empty()) text[0] = static_cast<char>(std::tolower(text[0]));
    return text;
}

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Result<Addresses> resolve(const std::string& host, std::uint16_t port, int flags) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    bool any = host.empty() || host == "*";
    int code =
        ::getaddrinfo(any ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (code != 0)
        return fail(ErrorKind::unavailable,
                    fmt::format("no address found for '{}': {}", host,
                                code == EAI_SYSTEM ? reason_of(errno) : ::gai_strerror(code)));
    return Addresses(found);
}

void set_option(int fd, int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);  // all of them only improve matters
}

// No waiting for more bytes (Nagle), because frames are written whole. If the peer of an idle
// connection is dead, that is noticed after 15 + 4 × 5 s.
void tune_connection(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

// 0, or the errno that this address failed with.
int connect_one(const Fd& fd, const sockaddr* address, socklen_t length, Duration timeout) {
    if (::connect(fd.get(), address, length) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    auto waited = wait_for(fd, POLLOUT, timeout);
    if (!waited) return EIO;
    if (*waited == Waited::timed_out) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path || path.contains('\0'))
        return fail(ErrorKind::invalid,
                    fmt::format("the socket path '{}' must have 1 to {} characters", path,
                                sizeof address.sun_path - 1));
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

Result<Fd> new_unix_socket() {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | kSocketFlags, 0));
    if (!fd) return fail(errno_error(errno, "create a unix socket"));
    return fd;
}

int connect_to(const Fd& fd, const sockaddr_un& address) {
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
               ? 0
               : errno;
}

Result<> remove_stale_socket(const std::string& path, const sockaddr_un& address) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return fail(errno_error(errno, "look at " + path));
    }
    if (!S_ISSOCK(status.st_mode))
        return fail(Error(ErrorKind::conflict, path + " exists and is not a socket")
                        .advising("Move it away or configure another socket path"));
    auto probe = UNDERSTUDY_VALUE(new_unix_socket());
    int error = connect_to(probe, address);
    if (error == ENOENT) return {};
    if (error != ECONNREFUSED)
        return fail(Error(ErrorKind::conflict, "another process listens on " + path)
                        .advising("Stop the other understudyd or configure another socket path"));
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return fail(errno_error(errno, "remove the left-over socket " + path));
    return {};
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text, std::optional<std::uint16_t> default_port) {
    auto wrong = [&](std::string_view why) {
        return fail(Error(ErrorKind::invalid, fmt::format("'{}' is not an address: {}", text, why))
                        .advising("Write HOST:PORT or [IPV6]:PORT"));
    };
    std::string_view host;
    std::string_view rest;
    if (text.starts_with('[')) {
        std::size_t close = text.find(']');
        if (close == text.npos) return wrong("']' is missing");
        host = text.substr(1, close - 1);
        rest = text.substr(close + 1);
    } else {
        std::size_t colon = text.find(':');
        if (colon != text.npos && text.find(':', colon + 1) != text.npos)
            return wrong("an IPv6 address needs brackets");
        host = text.substr(0, colon);
        rest = colon == text.npos ? std::string_view() : text.substr(colon);
    }
    auto is_wrong = [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '/'; };
    if (host.empty()) return wrong("the host is missing");
    if (std::ranges::any_of(host, is_wrong)) return wrong("the host has a wrong character");
    if (rest.empty()) {
        if (!default_port) return wrong("the port is missing");
        return Endpoint{std::string(host), *default_port};
    }
    if (rest[0] != ':') return wrong("':' is missing before the port");
    rest.remove_prefix(1);
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
    if (error != std::errc() || end != rest.data() + rest.size())
        return wrong("the port must be a number up to 65535");
    return Endpoint{std::string(host), port};
}

std::string format_endpoint(const Endpoint& endpoint) {
    bool brackets = endpoint.host.contains(':');
    return fmt::format("{}{}{}:{}", brackets ? "[" : "", endpoint.host, brackets ? "]" : "",
                       endpoint.port);
}

Result<Fd> listen_tcp(const std::string& host, std::uint16_t port) {
    std::string where = format_endpoint({host, port});
    auto addresses = resolve(host, port, AI_PASSIVE);
    if (!addresses) return fail(std::move(addresses.error()).during("listen on " + where));
    int error = EADDRNOTAVAIL;
    // IPv6 first: if "every address" is asked for, the IPv6 one takes IPv4 as well.
    for (int family : {AF_INET6, AF_INET}) {
        for (addrinfo* it = addresses->get(); it != nullptr; it = it->ai_next) {
            if (it->ai_family != family) continue;
            Fd fd(::socket(it->ai_family, it->ai_socktype | kSocketFlags, it->ai_protocol));
            if (fd) {
                set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
                if (family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
                if (::bind(fd.get(), it->ai_addr, it->ai_addrlen) == 0 &&
                    ::listen(fd.get(), kBacklog) == 0)
                    return fd;
            }
            error = errno;
        }
    }
    std::string what = fmt::format("cannot listen on {}: {}", where, reason_of(error));
    if (error == EADDRINUSE)
        return fail(Error(ErrorKind::conflict, what)
                        .advising("Stop what listens there or configure another port"));
    return fail(error == EADDRNOTAVAIL ? ErrorKind::invalid : ErrorKind::unavailable, what);
}

Result<std::uint16_t> local_port(const Fd& listener) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
        return fail(errno_error(errno, "read a socket's address"));
    if (address.ss_family == AF_INET)
        return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
    return fail(ErrorKind::invalid, "a unix socket has no port");
}

Result<Fd> listen_unix(const std::string& path, unsigned mode) {
    auto address = unix_address(path);
    if (!address) return error_of(address);
    UNDERSTUDY_TRY(remove_stale_socket(path, *address));
    auto fd = new_unix_socket();
    if (!fd) return fd;
    // At bind, Linux gives the file the descriptor's mode, less the umask. So its mode is never
    // wider than asked for, not even before the chmod below.
    if (::fchmod(fd->get(), mode) != 0) return fail(errno_error(errno, "protect " + path));
    if (::bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
        return fail(errno_error(errno, "create the socket " + path));
    if (::chmod(path.c_str(), mode) != 0) return fail(errno_error(errno, "protect " + path));
    if (::listen(fd->get(), kBacklog) != 0) return fail(errno_error(errno, "listen on " + path));
    return fd;
}

Result<Fd> accept_connection(const Fd& listener) {
    while (true) {
        Fd fd(::accept4(listener.get(), nullptr, nullptr, kSocketFlags));
        if (!fd && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (!fd) return fail(ErrorKind::unavailable, "accept a connection: " + reason_of(errno));
        tune_connection(fd.get());
        return fd;
    }
}

Result<Fd> connect_tcp(const std::string& host, std::uint16_t port, Duration timeout,
                       std::string_view name) {
    auto deadline = Clock::now() + timeout;
    std::string where =
        fmt::format("{}{}{}", name, name.empty() ? "" : " at ", format_endpoint({host, port}));
    auto addresses = resolve(host, port, 0);
    if (!addresses) return fail(std::move(addresses.error()).during("cannot reach " + where));
    int error = EHOSTUNREACH;
    for (addrinfo* it = addresses->get(); it != nullptr; it = it->ai_next) {
        auto left = std::chrono::ceil<Duration>(deadline - Clock::now());
        Fd fd(::socket(it->ai_family, it->ai_socktype | kSocketFlags, it->ai_protocol));
        if (!fd) {
            error = errno;
            continue;
        }
        tune_connection(fd.get());
        error = connect_one(fd, it->ai_addr, it->ai_addrlen, std::max(left, Duration(1)));
        if (error == 0) return fd;
    }
    return fail(ErrorKind::unavailable,
                fmt::format("cannot reach {}: {}", where, reason_of(error)));
}

Result<Fd> connect_unix(const std::string& path) {
    auto address = UNDERSTUDY_VALUE(unix_address(path));
    auto fd = new_unix_socket();
    if (!fd) return fd;
    int error = connect_to(*fd, address);
    if (error == 0) return fd;
    std::string what = fmt::format("cannot reach understudyd at {}: {}", path, reason_of(error));
    if (error == EACCES || error == EPERM)
        return fail(Error(ErrorKind::refused, what)
                        .advising("Run this as root or as a member of the socket's group"));
    return fail(Error(ErrorKind::unavailable, what)
                    .advising("Is it running? See: systemctl status understudyd"));
}

Result<Waited> wait_for(const Fd& fd, short events, std::optional<Duration> timeout) {
    auto deadline = Clock::now() + timeout.value_or(Duration(0));
    while (true) {
        int wait_ms = -1;
        if (timeout) {
            auto left = std::chrono::ceil<Duration>(deadline - Clock::now()).count();
            wait_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000));
        }
        pollfd entry{fd.get(), events, 0};
        int count = ::poll(&entry, 1, wait_ms);
        if (count > 0) return Waited::ready;
        if (count == 0) return Waited::timed_out;
        if (errno != EINTR) return fail(errno_error(errno, "wait for a socket"));
    }
}

}  // namespace understudy::net
