#pragma once

#include "net/identity.hpp"
#include "net/stream.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace understudy::net {

enum class ClientCertificate {
    none,      // the operators' port: clients show a token later on
    required,  // the peers' port: any certificate whose key the client proves to have
};

inline constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

// TLS 1.3 only, AES-128-GCM first, no session tickets. Trust is in pinned fingerprints, not in
// authorities. A value that can be copied and used by many threads at once.
//
// Making the first context ignores SIGPIPE in the whole process (unless a handler is set):
// during a handshake and with kernel TLS OpenSSL writes to the socket itself and cannot ask
// for MSG_NOSIGNAL. Programs started by the process must set SIGPIPE back to its default.
class TlsContext {
public:
    // Accepted at this level is every client certificate: the application must compare
    // Stream::peer_fingerprint() with its pins before it does anything for the client.
    static Result<TlsContext> server(const Identity& identity, ClientCertificate clients);

    // Connects to servers with exactly this certificate. Without an identity, anonymously.
    static Result<TlsContext> client(const std::optional<Identity>& identity,
                                     std::string_view expected_fingerprint);

    // The handshake, within `timeout` altogether. connect: `refused` when the certificate is not
    // the pinned one; a server that wants a certificate and got none says so only at the first
    // read.
    Result<std::unique_ptr<Stream>> accept(Fd socket, Duration timeout = kHandshakeTimeout) const;
    Result<std::unique_ptr<Stream>> connect(Fd socket, std::string_view peer_name,
                                            Duration timeout = kHandshakeTimeout) const;

private:
    struct Impl;
    explicit TlsContext(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
    std::shared_ptr<const Impl> impl_;
};

}  // namespace understudy::net
