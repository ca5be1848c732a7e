#include "net/socket_stream.hpp"

#include <fmt/format.h>
#include <linux/tcp.h>  // the whole tcp_info; glibc's stops in 2005
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

// What plain and TLS streams have in common: the peer's address, waiting with a timeout, TCP_INFO,
// and shutdown() from another thread. After shutdown() a call fails as cancelled, whatever the
// socket's own error was.

namespace understudy::net {
namespace {

using Clock = std::chrono::steady_clock;

std::string address_of_peer(const Fd& socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::getpeername(socket.get(), generic, &length) != 0) return "a closed connection";
    if (address.ss_family == AF_UNIX) return "unix";
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    if (::getnameinfo(generic, length, host.data(), host.size(), port.data(), port.size(),
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "an unknown address";
    std::string_view name = host.data();
    if (name.starts_with("::ffff:")) name.remove_prefix(7);  // IPv4 on an IPv6 listener
    return fmt::format(fmt::runtime(name.contains(':') ? "[{}]:{}" : "{}:{}"), name, port.data());
}

std::optional<Duration> limited(Duration timeout) {
    return timeout == Duration(0) ? std::nullopt : std::optional(timeout);
}

}  // namespace

SocketStream::SocketStream(Fd socket)
    : socket_(std::move(socket)), peer_address_(address_of_peer(socket_)) {}

void SocketStream::set_timeouts(Duration read, Duration write) {
    read_timeout_ = limited(read);
    write_timeout_ = limited(write);
}

bool SocketStream::poll_readable(Duration timeout) {
    auto deadline = Clock::now() + timeout;
    while (!readable_now()) {
        auto left = std::chrono::ceil<Duration>(deadline - Clock::now());
        if (left <= Duration(0)) return false;
        auto waited = wait_for(socket_, POLLIN, left);
        if (!waited) return true;
        if (*waited == Waited::timed_out) return readable_now();
    }
    return true;
}

void SocketStream::shutdown() {
    shut_down_.store(true);
    ::shutdown(socket_.get(), SHUT_RDWR);
}

std::optional<PeerCredentials> SocketStream::peer_credentials() const {
    if (peer_address_ != "unix") return std::nullopt;
    ucred credentials{};
    socklen_t length = sizeof credentials;
    if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
        return std::nullopt;
    return PeerCredentials{credentials.uid, credentials.gid, credentials.pid};
}

std::optional<LinkStats> SocketStream::link_stats() const {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
        return std::nullopt;
    return LinkStats{.delivery_rate = info.tcpi_delivery_rate,
                     .app_limited = info.tcpi_delivery_rate_app_limited != 0,
                     .busy_us = info.tcpi_busy_time,
                     .receiver_limited_us = info.tcpi_rwnd_limited,
                     .buffer_limited_us = info.tcpi_sndbuf_limited,
                     .bytes_acked = info.tcpi_bytes_acked,
                     .unacked_packets = info.tcpi_unacked,
                     .unsent_bytes = info.tcpi_notsent_bytes,
                     .rtt_us = info.tcpi_rtt,
                     .retransmits = info.tcpi_total_retrans};
}

Result<> SocketStream::wait_readable() {
    auto waited = UNDERSTUDY_VALUE(wait_for(socket_, POLLIN, read_timeout_));
    if (waited == Waited::ready) return {};
    return fail(ErrorKind::unavailable, fmt::format("{} sent nothing for {}", peer_address_,
                                                    base::format_duration(*read_timeout_)));
}

Result<> SocketStream::wait_writable() {
    auto waited = UNDERSTUDY_VALUE(wait_for(socket_, POLLOUT, write_timeout_));
    if (waited == Waited::ready) return {};
    return fail(ErrorKind::unavailable, fmt::format("{} took nothing for {}", peer_address_,
                                                    base::format_duration(*write_timeout_)));
}

Error SocketStream::explained(Error error) const {
    if (!was_shut_down()) return error;
    return Error(ErrorKind::cancelled,
                 fmt::format("the connection with {} was stopped here", peer_address_));
}

Error SocketStream::socket_error(int error_number, std::string_view what) const {
    return explained(errno_error(error_number, fmt::format("{} {}", what, peer_address_)));
}

}  // namespace understudy::net
