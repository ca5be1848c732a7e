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

// TLS 1.3 only, AES-128-GCM first, no session tickets. What is trusted are pinned fingerprints, not
// authorities. A value that can be copied and used by many threads at once.
//
// Making the first context ignores SIGPIPE in the whole process, unless a handler is set: during a
// handshake and with kernel TLS, OpenSSL writes to the socket itself and cannot ask for
// MSG_NOSIGNAL. Programs started by the process must set SIGPIPE back to its default.
class TlsContext {
public:
    // Every client certificate is accepted here. The application must compare
    // Stream::peer_fingerprint() with its pins before it does anything for the client.
    static Result<TlsContext> server(const Identity& identity, ClientCertificate clients);

    // Connects only to servers with this certificate. Without an identity the client is anonymous.
    static Result<TlsContext> client(const std::optional<Identity>& identity,
                                     std::string_view expected_fingerprint);

    // The whole handshake, within `timeout`. connect: `refused` if the certificate is not the
    // pinned one. If the server wants a certificate and got none, only the first read gives that
    // error.
    Result<std::unique_ptr<Stream>> accept(Fd socket, Duration timeout = kHandshakeTimeout) const;
    Result<std::unique_ptr<Stream>> connect(Fd socket, std::string_view peer_name,
                                            Duration timeout = kHandshakeTimeout) const;

private:
    struct Impl;
    explicit TlsContext(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
    std::shared_ptr<const Impl> impl_;
};

}  // namespace understudy::net
