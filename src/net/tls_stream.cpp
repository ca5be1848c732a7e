#include "net/tls_stream.hpp"

#include "net/gather_bio.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

// A TLS connection after its handshake. What is written is encrypted into the gathering BIO and
// sent by flush(); with kernel TLS there is no such BIO. Reads and writes wait with poll under the
// stream's timeout. After the first failure of OpenSSL or of a write, every later call gives that
// error, because half a record may be out. The destructor sends the close alert if it can.

namespace understudy::net {
namespace {

constexpr std::size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;  // 16 KiB

std::string fingerprint_of_peer(const SSL* ssl) {
    CertificateHandle certificate(SSL_get1_peer_certificate(ssl));
    return certificate ? certificate_fingerprint(certificate.get()) : std::string();
}

ErrorKind kind_of_reason(int reason) {
    switch (reason) {
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return ErrorKind::refused;
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        case SSL_R_HTTP_REQUEST: return ErrorKind::unsupported;
        default: return ErrorKind::unavailable;
    }
}

}  // namespace

Error tls_error(int ssl_error, int system_error, std::string_view what) {
    if (ssl_error == SSL_ERROR_SSL) {
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        if (reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return openssl_error(kind_of_reason(reason), what);
        system_error = 0;
    }
    ERR_clear_error();
    if (ssl_error == SSL_ERROR_SYSCALL && system_error != 0) return errno_error(system_error, what);
    return Error(ErrorKind::unavailable,
                 fmt::format("{}: the other side cut the connection off", what));
}

TlsStream::TlsStream(Fd socket, SslHandle ssl)
    : SocketStream(std::move(socket)),
      ssl_(std::move(ssl)),
      peer_fingerprint_(fingerprint_of_peer(ssl_.get())) {
    if (BIO_get_ktls_send(SSL_get_wbio(ssl_.get()))) return;  // the kernel makes the records
    if (BIO* bio = new_gathering_bio(this->socket().get())) SSL_set0_wbio(ssl_.get(), bio);
}

TlsStream::~TlsStream() {
    if (!failed_ && !was_shut_down()) {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());  // the close alert, if there is room for it
        ERR_clear_error();
    }
    ::shutdown(socket().get(), SHUT_RDWR);
}

Result<std::size_t> TlsStream::read_some(std::span<std::byte> into) {
    while (true) {
        if (was_shut_down()) return fail(explained(Error(ErrorKind::cancelled, "")));
        if (failed_) return fail(*failed_);
        ERR_clear_error();
        std::size_t count = 0;
        int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
        if (result == 1) return count;
        int system_error = errno;
        int error = SSL_get_error(ssl_.get(), result);
        if (error == SSL_ERROR_ZERO_RETURN) return 0uz;
        if (error == SSL_ERROR_WANT_READ) {
            UNDERSTUDY_TRY(wait_readable());
        } else if (error == SSL_ERROR_WANT_WRITE) {
            UNDERSTUDY_TRY(wait_writable());
        } else {
            set_failed(error, system_error, "read from");
        }
    }
}

Result<> TlsStream::write_all(std::span<const std::byte> data) {
    UNDERSTUDY_TRY(encrypt(data));
    return flush();
}

Result<> TlsStream::encrypt(std::span<const std::byte> data) {
    if (data.empty()) return {};
    while (true) {
        if (was_shut_down()) return fail(explained(Error(ErrorKind::cancelled, "")));
        if (failed_) return fail(*failed_);
        ERR_clear_error();
        std::size_t count = 0;
        int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &count);
        if (result == 1) return {};  // all of it: partial writes are not enabled
        int system_error = errno;
        int error = SSL_get_error(ssl_.get(), result);
        Result<> waited;
        if (error == SSL_ERROR_WANT_WRITE) {
            waited = wait_writable();
        } else if (error == SSL_ERROR_WANT_READ) {
            waited = wait_readable();
        } else {
            set_failed(error, system_error, "write to");
            continue;
        }
        if (!waited) {
            failed_ = waited.error();  // half a record may be out: nothing may follow it
            return waited;
        }
    }
}

Result<> TlsStream::flush() {
    BIO* out = SSL_get_wbio(ssl_.get());
    while (BIO_flush(out) != 1) {
        int system_error = errno;
        if (!BIO_should_retry(out)) {
            set_failed(SSL_ERROR_SYSCALL, system_error, "write to");
            return fail(*failed_);
        }
        if (auto waited = wait_writable(); !waited) {
            failed_ = waited.error();
            return waited;
        }
    }
    if (was_shut_down()) return fail(explained(Error(ErrorKind::cancelled, "")));
    return {};
}

Result<> TlsStream::write_all2(std::span<const std::byte> header,
                               std::span<const std::byte> payload) {
    if (header.size() >= kRecord || payload.empty()) {
        UNDERSTUDY_TRY(encrypt(header));
        return write_all(payload);
    }
    std::size_t shared = std::min(kRecord - header.size(), payload.size());
    first_record_.assign(header.begin(), header.end());
    first_record_.insert(first_record_.end(), payload.begin(),
                         payload.begin() + static_cast<std::ptrdiff_t>(shared));
    UNDERSTUDY_TRY(encrypt(first_record_));
    return write_all(payload.subspan(shared));
}

bool TlsStream::readable_now() {
    if (failed_ || was_shut_down() || SSL_pending(ssl_.get()) > 0) return true;
    ERR_clear_error();
    char byte;
    std::size_t count = 0;
    int result = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
    if (result == 1) return true;
    int system_error = errno;
    int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
    if (error != SSL_ERROR_ZERO_RETURN) set_failed(error, system_error, "read from");
    return true;
}

Result<> TlsStream::end_writing() {
    if (failed_) return fail(*failed_);
    ERR_clear_error();
    int result = SSL_shutdown(ssl_.get());
    if (result < 0) {
        int system_error = errno;
        set_failed(SSL_get_error(ssl_.get(), result), system_error, "end writing to");
        return fail(*failed_);
    }
    UNDERSTUDY_TRY(flush());
    if (::shutdown(socket().get(), SHUT_WR) != 0)
        return fail(socket_error(errno, "end writing to"));
    return {};
}

void TlsStream::set_failed(int ssl_error, int system_error, std::string_view what) {
    failed_ =
        explained(tls_error(ssl_error, system_error, fmt::format("{} {}", what, peer_address())));
}

}  // namespace understudy::net
