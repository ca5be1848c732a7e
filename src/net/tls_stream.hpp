#pragma once

// Only for this folder's .cpp files.

#include "net/openssl_handles.hpp"
#include "net/socket_stream.hpp"

#include <vector>

namespace understudy::net {

// A connection after its handshake. `ssl` works on `socket`, which is non-blocking.
class TlsStream final : public SocketStream {
public:
    TlsStream(Fd socket, SslHandle ssl);
    ~TlsStream() override;

    Result<std::size_t> read_some(std::span<std::byte> into) override;
    Result<> write_all(std::span<const std::byte> data) override;
    Result<> write_all2(std::span<const std::byte> header,
                        std::span<const std::byte> payload) override;
    bool readable_now() override;
    Result<> end_writing() override;
    const std::string& peer_fingerprint() const override { return peer_fingerprint_; }

private:
    Result<> encrypt(std::span<const std::byte> data);  // flush() sends it
    Result<> flush();
    void set_failed(int ssl_error, int system_error, std::string_view what);

    SslHandle ssl_;
    std::string peer_fingerprint_;
    std::vector<std::byte> first_record_;
    std::optional<Error> failed_;  // the first failure; OpenSSL allows no call after it
};

// The Error for a result of SSL_get_error that is neither a "want" nor "zero return".
// `system_error` is the errno right after the call.
Error tls_error(int ssl_error, int system_error, std::string_view what);

}  // namespace understudy::net
