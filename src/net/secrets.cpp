#include "net/secrets.hpp"

#include "base/base64.hpp"
#include "base/error.hpp"
#include "net/openssl_handles.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>

namespace understudy::net {

std::string sha256_hex(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int length = 0;
    int ok = EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
    UNDERSTUDY_INVARIANT(ok == 1, "OpenSSL cannot compute SHA-256");
    return hex(std::span(digest).first(length));
}

std::string hmac_sha256_hex(std::string_view key, std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int length = 0;
    const auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                            reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                            digest.data(), &length);
    UNDERSTUDY_INVARIANT(done != nullptr, "OpenSSL cannot compute HMAC-SHA-256");
    return hex(std::span(digest).first(length));
}

std::string random_secret(std::size_t bytes) {
    std::string secret(bytes, '\0');
    int ok =
        RAND_priv_bytes(reinterpret_cast<unsigned char*>(secret.data()), static_cast<int>(bytes));
    UNDERSTUDY_INVARIANT(ok == 1, "the system's random generator does not work");
    return base::base64url_encode(secret);
}

bool constant_time_equal(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace understudy::net
