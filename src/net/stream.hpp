#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "net/socket.hpp"

#include <sys/types.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace understudy::net {

// Who is at the other end of a unix socket, as the kernel knew it at connect.
struct PeerCredentials {
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;
};

// The kernel's view of a TCP connection (TCP_INFO). Counters begin when the connection is made.
struct LinkStats {
    std::uint64_t delivery_rate = 0;        // bytes/s, of the most recent flight
    bool app_limited = false;               // that rate was limited by us, not by the link
    std::uint64_t busy_us = 0;              // time with data to send
    std::uint64_t receiver_limited_us = 0;  // of which: waiting for the receiver's window
    std::uint64_t buffer_limited_us = 0;    // of which: waiting for room in our send buffer
    std::uint64_t bytes_acked = 0;
    std::uint32_t unacked_packets = 0;
    std::uint32_t unsent_bytes = 0;  // in the send buffer, not on the wire yet
    std::uint32_t rtt_us = 0;
    std::uint32_t retransmits = 0;  // packets, total
};

// A connection that carries bytes in order.
//
// Threads: only one thread at a time uses a stream, for reading or for writing (OpenSSL allows no
// more, and a plain stream has the same rule). A thread that writes and sometimes expects an answer
// looks for it with readable_now() or poll_readable(). shutdown() alone may be called by any thread
// at any time while the stream exists.
//
// After an error the stream must not be used any more, only destroyed.
class Stream {
public:
    virtual ~Stream() = default;

    // Waits for at least one byte. 0: the other side ended the connection properly. With TLS that
    // needs a close alert; if the connection is cut without one, the error is `unavailable`. `into`
    // must not be empty.
    virtual Result<std::size_t> read_some(std::span<std::byte> into) = 0;
    virtual Result<> write_all(std::span<const std::byte> data) = 0;
    // Writes the same bytes as write_all(header) and write_all(payload), but the header gets no
    // small packet of its own, and the payload is not copied (with TLS only its first 16 KiB).
    virtual Result<> write_all2(std::span<const std::byte> header,
                                std::span<const std::byte> payload) = 0;

    // How long a call may make no progress before it fails as `unavailable`. Zero, the default: for
    // ever.
    virtual void set_timeouts(Duration read, Duration write) = 0;

    // Whether read_some would return at once, be it with bytes, with the end or with an error.
    virtual bool readable_now() = 0;
    virtual bool poll_readable(Duration timeout) = 0;  // waits up to `timeout` for that

    // Tells the other side that nothing more will be written; reading goes on.
    virtual Result<> end_writing() = 0;

    // Makes calls in other threads, and all later ones, return. Reads and writes fail as
    // `cancelled`.
    virtual void shutdown() = 0;

    virtual const std::string& peer_address() const = 0;  // "10.0.0.2:40112"; "unix"
    // The fingerprint of the other side's certificate, 64 hex digits. Empty without TLS or without
    // a certificate.
    virtual const std::string& peer_fingerprint() const = 0;
    virtual std::optional<PeerCredentials> peer_credentials() const = 0;  // unix only
    virtual std::optional<LinkStats> link_stats() const = 0;              // TCP only
};

// Over a connected TCP or unix socket.
std::unique_ptr<Stream> make_plain_stream(Fd socket);

// First delivers `already_read`, then what `stream` brings.
std::unique_ptr<Stream> make_prefixed_stream(std::string already_read,
                                             std::unique_ptr<Stream> stream);

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace understudy::net
