#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::net {

// What a cluster proves itself with: a self-signed certificate that its peers pin by fingerprint.
// The private key must never be logged or sent.
struct Identity {
    std::string certificate_pem;
    std::string private_key_pem;
};

// A fresh EC P-256 key and a certificate for it that is good for 100 years, as server and as
// client. Names of more than 64 characters are cut (X.520); nothing relies on the name.
Result<Identity> make_identity(std::string_view common_name);

// The identity kept in `directory` (cert.pem, and key.pem readable by its owner only), made there
// if there is no certificate yet; the directory is made with mode 0700 if it is missing. Durable
// when it returns: the certificate is written last, so that after a crash there is a whole
// identity or none. One process at a time.
// corrupt: the files do not belong together or cannot be read; refused: others may read the key.
Result<Identity> load_or_create_identity(const std::string& directory,
                                         std::string_view common_name);

// Lower-case hex SHA-256 of the certificate's DER: 64 digits, what peers pin.
Result<std::string> fingerprint(std::string_view certificate_pem);

}  // namespace understudy::net
