#pragma once

// Only for this folder: what the plain and the TLS stream have in common.

#include "net/stream.hpp"

#include <atomic>

namespace understudy::net {

class SocketStream : public Stream {
public:
    explicit SocketStream(Fd socket);

    void set_timeouts(Duration read, Duration write) final;
    bool poll_readable(Duration timeout) final;
    void shutdown() final;
    const std::string& peer_address() const final { return peer_address_; }
    std::optional<PeerCredentials> peer_credentials() const final;
    std::optional<LinkStats> link_stats() const final;

protected:
    const Fd& socket() const { return socket_; }
    // Waits under the read or write timeout; the error is what the caller returns.
    Result<> wait_readable();
    Result<> wait_writable();
    bool was_shut_down() const { return shut_down_.load(); }
    // `error`; but `cancelled` if shutdown() was called, which is then its cause.
    Error explained(Error error) const;
    Error socket_error(int error_number, std::string_view what) const;

private:
    Fd socket_;
    std::string peer_address_;
    std::optional<Duration> read_timeout_;
    std::optional<Duration> write_timeout_;
    std::atomic<bool> shut_down_ = false;
};

}  // namespace understudy::net
