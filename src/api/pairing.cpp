#include "api/pairing.hpp"

#include "base/base64.hpp"
#include "base/shell_word.hpp"
#include "net/secrets.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

// The token of an invitation, and who may become a peer. A token is "understudy1.", base64url of a
// JSON object, a dot and 8 hex digits of a SHA-256, so that a token cut off while copying is
// noticed. The digits are no protection against an attacker: the secret inside is. Pure: no I/O;
// only a hash of the secret is kept, in the catalog.

namespace understudy::api {
namespace {

constexpr std::string_view kPrefix = "understudy1.";
constexpr std::size_t kLongest = 4096;
constexpr std::size_t kChecksumDigits = 8;

std::unexpected<Error> mangled() {
    return fail(Error(ErrorKind::invalid, "this is not a whole invitation token")
                    .advising("Copy the whole line that `understudy peer invite` printed."));
}

}  // namespace

std::string encode_token(const InviteToken& token) {
    const nlohmann::json body{{"address", token.address},
                              {"fingerprint", token.fingerprint},
                              {"secret", token.secret},
                              {"expires", base::format_time(token.expires)}};
    const auto encoded = base::base64url_encode(body.dump());
    return std::string(kPrefix) + encoded + "." +
           net::sha256_hex(encoded).substr(0, kChecksumDigits);
}

Result<InviteToken> decode_token(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    if (text.size() > kLongest || !text.starts_with(kPrefix)) return mangled();
    text.remove_prefix(kPrefix.size());
    const auto dot = text.rfind('.');
    if (dot == std::string_view::npos) return mangled();
    const auto encoded = text.substr(0, dot);
    if (text.substr(dot + 1) != net::sha256_hex(encoded).substr(0, kChecksumDigits))
        return mangled();
    auto decoded = base::base64url_decode(encoded);
    if (!decoded) return mangled();
    const auto body = nlohmann::json::parse(*decoded, nullptr, false);
    if (!body.is_object()) return mangled();
    InviteToken token;
    for (const auto& [name, field] :
         {std::pair{"address", &token.address}, std::pair{"fingerprint", &token.fingerprint},
          std::pair{"secret", &token.secret}}) {
        const auto found = body.find(name);
        if (found == body.end() || !found->is_string()) return mangled();
        *field = found->get<std::string>();
    }
    const auto expires = body.find("expires");
    if (expires == body.end() || !expires->is_string()) return mangled();
    auto time = base::parse_time(expires->get_ref<const std::string&>());
    if (!time) return mangled();
    token.expires = *time;
    return token;
}

Result<> check_new_peer(const model::Cluster& ours, const std::vector<model::Peer>& peers,
                        const model::Cluster& theirs, const std::string& fingerprint) {
    if (theirs.id == ours.id)
        return fail(
            Error(ErrorKind::refused, "a cluster cannot be its own peer")
                .advising("If one cluster is a copy of the other, set up one of them again."));
    if (theirs.name == ours.name)
        return fail(
            Error(ErrorKind::refused, fmt::format("both clusters are named '{}'", ours.name))
                .advising("Peers need different names."));
    for (const auto& known : peers) {
        if (known.id == theirs.id && known.fingerprint != fingerprint)
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("'{}' is a peer of '{}' with another certificate", known.name,
                                  ours.name))
                    .advising(fmt::format("If it was given a new identity, end the old pairing on "
                                          "'{}' first: `understudy peer remove {} --force`.",
                                          ours.name, base::shell_word(known.name))));
        if (known.id != theirs.id && known.name == theirs.name)
            return fail(Error(ErrorKind::refused, fmt::format("'{}' has another peer named '{}'",
                                                              ours.name, known.name))
                            .advising("Peers need different names."));
    }
    return {};
}

}  // namespace understudy::api
