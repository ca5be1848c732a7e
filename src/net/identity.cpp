#include "net/identity.hpp"

#include "base/durable_file.hpp"
#include "net/openssl_handles.hpp"
#include "net/socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

// The cluster's certificate and key. If there is no certificate in the directory, a key and a
// certificate are made and written, the certificate last: a crash before that leaves no
// certificate, and the next start makes both anew. A key that others may read is refused; files
// that do not belong together are corrupt, and nothing is replaced.

namespace understudy::net {
namespace {

constexpr long kDay = 24L * 60 * 60;
constexpr long kLifetime = 100 * 365 * kDay;
constexpr std::size_t kMaxName = 64;        // characters; ub-common-name of RFC 5280
constexpr std::size_t kMaxPem = 64 * 1024;  // bytes; ours are under 1 KiB

// At most kMaxName characters of UTF-8 text, cut between characters.
std::string shortened(std::string_view name) {
    std::size_t characters = 0;
    for (std::size_t i = 0; i < name.size(); ++i) {
        bool starts_character = (static_cast<unsigned char>(name[i]) & 0xc0) != 0x80;
        if (starts_character && characters++ == kMaxName) return std::string(name.substr(0, i));
    }
    return std::string(name);
}

bool set_random_serial(X509* certificate) {
    std::array<unsigned char, 16> bytes;
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
    bytes[0] &= 0x7f;  // serials are positive (RFC 5280, 4.1.2.2)
    bytes[0] |= 0x01;
    std::unique_ptr<BIGNUM, FreeWith<BN_free>> number(
        BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
    return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate));
}

bool add_extension(X509* certificate, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

CertificateHandle sign_certificate(EVP_PKEY* key, const std::string& name) {
    CertificateHandle certificate(X509_new());
    X509* it = certificate.get();
    if (!it || X509_set_version(it, X509_VERSION_3) != 1 || !set_random_serial(it)) return {};
    // From yesterday: the peer's clock may be behind.
    if (!X509_gmtime_adj(X509_getm_notBefore(it), -kDay) ||
        !X509_gmtime_adj(X509_getm_notAfter(it), kLifetime))
        return {};
    X509_NAME* subject = X509_get_subject_name(it);
    if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(name.data()),
                                   static_cast<int>(name.size()), -1, 0) != 1)
        return {};
    if (X509_set_issuer_name(it, subject) != 1 || X509_set_pubkey(it, key) != 1) return {};
    if (!add_extension(it, NID_basic_constraints, "critical,CA:FALSE")) return {};
    if (X509_sign(it, key, EVP_sha256()) == 0) return {};
    return certificate;
}

std::string drain(BIO* bio) {
    char* data = nullptr;
    long length = BIO_get_mem_data(bio, &data);
    return length > 0 ? std::string(data, static_cast<std::size_t>(length)) : std::string();
}

enum class ReadableBy { owner, anyone };

Result<std::string> read_pem(const std::string& path, ReadableBy readers) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) return fail(errno_error(errno, "open " + path));
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return fail(errno_error(errno, "stat " + path));
    if (readers == ReadableBy::owner && (status.st_mode & 077) != 0)
        return fail(
            Error(ErrorKind::refused, fmt::format("other users may read the private key {}", path))
                .advising(fmt::format("If nobody copied it: chmod 600 '{}'", path)));
    std::string text(kMaxPem, '\0');
    auto length = UNDERSTUDY_VALUE(base::read_up_to(file, text, path));
    if (length == text.size()) return fail(ErrorKind::corrupt, path + " is no PEM file: too long");
    text.resize(length);
    return text;
}

Error broken_identity(const std::string& directory, std::string_view what) {
    return Error(ErrorKind::corrupt, fmt::format("the identity in {}: {}", directory, what))
        .advising(fmt::format("Restore cert.pem and key.pem from a backup; or remove both to get "
                              "a new identity, and pair every peer again"));
}

Result<Identity> load_identity(const std::string& directory) {
    auto certificate_pem = UNDERSTUDY_VALUE(read_pem(directory + "/cert.pem", ReadableBy::anyone));
    auto key_pem = read_pem(directory + "/key.pem", ReadableBy::owner);
    if (!key_pem) {
        if (key_pem.error().kind() != ErrorKind::not_found) return error_of(key_pem);
        return fail(broken_identity(directory, "key.pem is missing"));
    }
    auto certificate = parse_certificate(certificate_pem);
    if (!certificate) return fail(broken_identity(directory, certificate.error().what()));
    auto key = parse_private_key(*key_pem);
    if (!key) return fail(broken_identity(directory, key.error().what()));
    if (X509_check_private_key(certificate->get(), key->get()) != 1)
        return fail(broken_identity(directory, "key.pem is not the key of cert.pem"));
    return Identity{std::move(certificate_pem), std::move(*key_pem)};
}

}  // namespace

Result<Identity> make_identity(std::string_view common_name) {
    if (common_name.empty()) return fail(ErrorKind::invalid, "an identity needs a name");
    KeyHandle key(EVP_EC_gen("P-256"));
    if (!key) return fail(openssl_error(ErrorKind::internal, "cannot make a key"));
    CertificateHandle certificate = sign_certificate(key.get(), shortened(common_name));
    if (!certificate)
        return fail(openssl_error(ErrorKind::invalid, "cannot make a certificate for this name"));
    BioHandle certificate_text(BIO_new(BIO_s_mem()));
    BioHandle key_text(BIO_new(BIO_s_secmem()));
    if (PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                      nullptr) != 1)
        return fail(openssl_error(ErrorKind::internal, "cannot write the identity as PEM"));
    return Identity{drain(certificate_text.get()), drain(key_text.get())};
}

Result<Identity> load_or_create_identity(const std::string& directory,
                                         std::string_view common_name) {
    auto loaded = load_identity(directory);
    if (loaded || loaded.error().kind() != ErrorKind::not_found) return loaded;
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(errno_error(errno, "create " + directory));
    auto made = make_identity(common_name);
    if (!made) return made;
    UNDERSTUDY_TRY(base::replace_file(directory + "/key.pem", made->private_key_pem, 0600));
    UNDERSTUDY_TRY(base::replace_file(directory + "/cert.pem", made->certificate_pem, 0644));
    return made;
}

Result<std::string> fingerprint(std::string_view certificate_pem) {
    auto certificate = UNDERSTUDY_VALUE(parse_certificate(certificate_pem));
    return certificate_fingerprint(certificate.get());
}

}  // namespace understudy::net
