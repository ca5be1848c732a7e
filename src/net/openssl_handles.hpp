#pragma once

// Only for this folder's .cpp files: OpenSSL's objects with C++ lifetimes, and its error texts.

#include "base/error.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace understudy::net {

template <auto Free>
struct FreeWith {
    template <class T>
    void operator()(T* object) const {
        Free(object);
    }
};

using BioHandle = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using CertificateHandle = std::unique_ptr<X509, FreeWith<X509_free>>;
using SslHandle = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using SslContextHandle = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;

std::string hex(std::span<const unsigned char> bytes);  // lower case
std::string openssl_reason();  // why the last call failed; empties this thread's error queue
Error openssl_error(ErrorKind kind, std::string_view what);

Result<CertificateHandle> parse_certificate(std::string_view pem);
Result<KeyHandle> parse_private_key(std::string_view pem);
std::string certificate_fingerprint(const X509* certificate);

}  // namespace understudy::net
