#include "net/secrets.hpp"
#include "net/tls.hpp"
#include "net/tls_stream.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>

// Sets up TLS 1.3 and makes handshakes. A server accepts any client certificate, whose key the
// handshake proves; a client accepts only the pinned fingerprint, compared during the handshake. A
// handshake runs on the non-blocking socket and waits with poll until its deadline. No tickets and
// no sessions are kept: every connection is verified anew.

namespace understudy::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kCiphers =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// With it one recv reads several records; without it each record costs two. 1 MiB is much slower
// (README).
constexpr std::size_t kReadBuffer = 64 * 1024;

void ignore_sigpipe() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action{};
        if (::sigaction(SIGPIPE, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return;
        action.sa_handler = SIG_IGN;
        ::sigaction(SIGPIPE, &action, nullptr);
    });
}

// What a handshake in a client expects and finds; lives as long as the handshake.
struct PinCheck {
    std::string_view expected;
    std::string found;
};

int accept_any_certificate(X509_STORE_CTX*, void*) {
    return 1;  // the handshake itself proves that the client has its key
}

int accept_pinned_certificate(X509_STORE_CTX* store, void*) {
    const auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* check = static_cast<PinCheck*>(SSL_get_app_data(ssl));
    check->found = certificate_fingerprint(X509_STORE_CTX_get0_cert(store));
    if (constant_time_equal(check->found, check->expected)) return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    return 0;
}

Result<> use_identity(SSL_CTX* context, const Identity& identity) {
    auto certificate = UNDERSTUDY_VALUE(parse_certificate(identity.certificate_pem));
    auto key = UNDERSTUDY_VALUE(parse_private_key(identity.private_key_pem));
    if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context, key.get()) != 1)
        return fail(
            openssl_error(ErrorKind::invalid, "certificate and private key do not go together"));
    return {};
}

Result<SslContextHandle> new_context(const SSL_METHOD* method) {
    ignore_sigpipe();
    SslContextHandle context(SSL_CTX_new(method));
    SSL_CTX* it = context.get();
    if (!it || SSL_CTX_set_min_proto_version(it, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(it, kCiphers) != 1 || SSL_CTX_set_num_tickets(it, 0) != 1)
        return fail(openssl_error(ErrorKind::internal, "cannot set up TLS 1.3"));
    SSL_CTX_set_options(it, SSL_OP_ENABLE_KTLS | SSL_OP_NO_TICKET |
                                SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(it, SSL_MODE_AUTO_RETRY);
    SSL_CTX_clear_mode(it, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(it, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(it, 1);
    SSL_CTX_set_default_read_buffer_len(it, kReadBuffer);
    return context;
}

bool is_fingerprint(std::string_view text) {
    return text.size() == 64 && std::ranges::all_of(text, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

Result<> handshake(SSL* ssl, const Fd& socket, std::string_view what, Duration timeout) {
    auto deadline = Clock::now() + timeout;
    while (true) {
        ERR_clear_error();
        int result = SSL_do_handshake(ssl);
        if (result == 1) return {};
        int system_error = errno;
        int error = SSL_get_error(ssl, result);
        short events = error == SSL_ERROR_WANT_READ    ? short{POLLIN}
                       : error == SSL_ERROR_WANT_WRITE ? short{POLLOUT}
                                                       : short{0};
        if (events == 0) return fail(tls_error(error, system_error, what));
        auto left = std::chrono::ceil<Duration>(deadline - Clock::now());
        auto waited = UNDERSTUDY_VALUE(wait_for(socket, events, std::max(left, Duration(0))));
        if (waited == Waited::timed_out)
            return fail(ErrorKind::unavailable, fmt::format("{}: not done within {}", what,
                                                            base::format_duration(timeout)));
    }
}

}  // namespace

struct TlsContext::Impl {
    SslContextHandle context;
    std::string expected_fingerprint;  // empty: a server

    Result<SslHandle> new_ssl(const Fd& socket) const {
        SslHandle ssl(SSL_new(context.get()));
        if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1)
            return fail(openssl_error(ErrorKind::internal, "cannot begin a TLS connection"));
        return ssl;
    }
};

Result<TlsContext> TlsContext::server(const Identity& identity, ClientCertificate clients) {
    auto context = UNDERSTUDY_VALUE(new_context(TLS_server_method()));
    UNDERSTUDY_TRY(use_identity(context.get(), identity));
    if (clients == ClientCertificate::required) {
        SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           nullptr);
        SSL_CTX_set_cert_verify_callback(context.get(), accept_any_certificate, nullptr);
    }
    return TlsContext(std::make_shared<Impl>(Impl{std::move(context), {}}));
}

Result<TlsContext> TlsContext::client(const std::optional<Identity>& identity,
                                      std::string_view expected_fingerprint) {
    if (!is_fingerprint(expected_fingerprint))
        return fail(ErrorKind::invalid,
                    fmt::format("'{}' is not a certificate's fingerprint (64 lower-case "
                                "hexadecimal digits)",
                                expected_fingerprint));
    auto context = UNDERSTUDY_VALUE(new_context(TLS_client_method()));
    if (identity) UNDERSTUDY_TRY(use_identity(context.get(), *identity));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(context.get(), accept_pinned_certificate, nullptr);
    return TlsContext(
        std::make_shared<Impl>(Impl{std::move(context), std::string(expected_fingerprint)}));
}

Result<std::unique_ptr<Stream>> TlsContext::accept(Fd socket, Duration timeout) const {
    auto ssl = UNDERSTUDY_VALUE(impl_->new_ssl(socket));
    SSL_set_accept_state(ssl.get());
    UNDERSTUDY_TRY(handshake(ssl.get(), socket, "TLS handshake with a client", timeout));
    return std::make_unique<TlsStream>(std::move(socket), std::move(ssl));
}

Result<std::unique_ptr<Stream>> TlsContext::connect(Fd socket, std::string_view peer_name,
                                                    Duration timeout) const {
    auto ssl = UNDERSTUDY_VALUE(impl_->new_ssl(socket));
    SSL_set_connect_state(ssl.get());
    PinCheck check{impl_->expected_fingerprint, {}};
    SSL_set_app_data(ssl.get(), &check);
    auto done =
        handshake(ssl.get(), socket, fmt::format("TLS handshake with {}", peer_name), timeout);
    SSL_set_app_data(ssl.get(), nullptr);
    if (!done && !check.found.empty() && check.found != check.expected)
        return fail(Error(ErrorKind::refused,
                          fmt::format("the certificate of {} is not the pinned one (expected {}, "
                                      "got {})",
                                      peer_name, check.expected, check.found))
                        .advising("Either another machine answers at this address, or the peer "
                                  "was set up anew: then pair again"));
    if (!done) return error_of(done);
    return std::make_unique<TlsStream>(std::move(socket), std::move(ssl));
}

}  // namespace understudy::net
