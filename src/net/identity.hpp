#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace understudy::net {

// What a cluster proves its identity with: a self-signed certificate, whose fingerprint its peers
// pin. The private key must never be logged or sent.
struct Identity {
    std::string certificate_pem;
    std::string private_key_pem;
};

// A fresh EC P-256 key and a certificate for it that is good for 100 years, as server and as
// client. Names of more than 64 characters are cut (X.520); nothing relies on the name.
Result<Identity> make_identity(std::string_view common_name);

// The identity in `directory`: cert.pem, and key.pem, which only its owner may read. If there is no
// cert.pem, both are made; if the directory is missing, it is made with mode 0700. The files are
// durable on return. cert.pem is written last, so that after a crash there is a whole identity or
// none. One process at a time.
// corrupt: the files do not belong together or are no PEM. refused: others may read the key.
Result<Identity> load_or_create_identity(const std::string& directory,
                                         std::string_view common_name);

// Lower-case hex SHA-256 of the certificate's DER: 64 digits, what peers pin.
Result<std::string> fingerprint(std::string_view certificate_pem);

}  // namespace understudy::net
