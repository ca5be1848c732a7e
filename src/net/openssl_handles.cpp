#include "net/openssl_handles.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>

namespace understudy::net {
namespace {

// A PEM file with a passphrase must not make OpenSSL ask for it on the terminal.
int no_passphrase(char*, int, int, void*) {
    return -1;
}

BioHandle memory_bio(std::string_view text) {
    return BioHandle(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

std::string hex(std::span<const unsigned char> bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (unsigned char byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
    return text;
}

std::string openssl_reason() {
    unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    if (const char* reason = ERR_reason_error_string(code)) return reason;
    return fmt::format("OpenSSL error {:#x}", code);
}

Error openssl_error(ErrorKind kind, std::string_view what) {
    return Error(kind, fmt::format("{}: {}", what, openssl_reason()));
}

Result<CertificateHandle> parse_certificate(std::string_view pem) {
    BioHandle bio = memory_bio(pem);
    CertificateHandle certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!certificate)
        return fail(openssl_error(ErrorKind::invalid, "this is not a PEM certificate"));
    return certificate;
}

Result<KeyHandle> parse_private_key(std::string_view pem) {
    BioHandle bio = memory_bio(pem);
    KeyHandle key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    if (!key)
        return fail(
            openssl_error(ErrorKind::invalid, "this is not a PEM private key without passphrase"));
    return key;
}

std::string certificate_fingerprint(const X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int length = 0;
    int ok = X509_digest(certificate, EVP_sha256(), digest.data(), &length);
    UNDERSTUDY_INVARIANT(ok == 1, "OpenSSL cannot digest a certificate");
    return hex(std::span(digest).first(length));
}

}  // namespace understudy::net
