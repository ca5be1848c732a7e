#include "api/operators_calls.hpp"
#include "api/pairing.hpp"
#include "api/peer_client.hpp"
#include "api/views.hpp"
#include "base/shell_word.hpp"
#include "model/json.hpp"
#include "net/secrets.hpp"
#include "tasks/owners/ownership_news.hpp"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>

// Calls about peers: invite, join, list, details, remove, map of networks and pools, rate limit.
// `join` asks the inviting cluster first and then saves the peer here; if it fails or the daemon
// dies in between, the pairing is there only, and joining again with a new invitation completes it.
// `remove` removes the peer first and then what it had begun to send; after a crash in between, the
// unfinished transfers stay until they are given up as old (daemon/house).

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultTtl = 15 * 60 * 1000;
constexpr std::uint64_t kLongestTtl = 7ULL * 24 * 3600 * 1000;

Result<Reply> invite(const Asked& asked) {
    auto ttl = UNDERSTUDY_VALUE(number_field(asked.body, "ttl_ms", kDefaultTtl));
    if (ttl == 0 || ttl > kLongestTtl)
        return fail(ErrorKind::invalid, "an invitation lasts from 1 ms to 7 days");
    auto& context = asked.context;
    auto fingerprint = UNDERSTUDY_VALUE(net::fingerprint(context.identity.certificate_pem));
    const InviteToken token{context.peers_address, fingerprint, net::random_secret(),
                            asked.site().clock.now() + Duration(static_cast<std::int64_t>(ttl))};
    UNDERSTUDY_TRY(asked.site().catalog.add_invite(net::sha256_hex(token.secret), token.expires));
    return Reply{200,
                 {{"token", encode_token(token)},
                  {"expires", base::format_time(token.expires)},
                  {"address", token.address}}};
}

Result<> check_can_join(tasks::Site& site, const InviteToken& token,
                        const std::string& own_fingerprint) {
    if (token.fingerprint == own_fingerprint)
        return fail(Error(ErrorKind::refused, "this invitation is this cluster's own")
                        .advising("Use it on the other cluster."));
    if (token.expires <= site.clock.now())
        return fail(Error(ErrorKind::refused, fmt::format("the invitation expired at {}",
                                                          base::format_time(token.expires)))
                        .advising("Make a new one with `understudy peer invite`."));
    return {};
}

Result<Reply> join(const Asked& asked) {
    auto text = UNDERSTUDY_VALUE(text_field(asked.body, "token"));
    auto token = UNDERSTUDY_VALUE(decode_token(text));
    auto& context = asked.context;
    auto& site = asked.site();
    auto own = UNDERSTUDY_VALUE(net::fingerprint(context.identity.certificate_pem));
    UNDERSTUDY_TRY(check_can_join(site, token, own));
    auto reply = pair_with(
        context.identity, token.address, token.fingerprint,
        {token.secret, site.cluster, context.peers_address, context.identity.certificate_pem});
    if (!reply) return fail(std::move(reply.error()).during("pair with " + token.address));
    auto peers = UNDERSTUDY_VALUE(site.catalog.peers());
    auto fits = check_new_peer(site.cluster, peers, reply->cluster, token.fingerprint);
    if (!fits)
        return fail(std::move(fits.error())
                        .during("pair with " + token.address)
                        .keeping(fmt::format("the pairing there; end it with `understudy peer "
                                             "remove {}` on that cluster",
                                             base::shell_word(site.cluster.name))));
    model::Peer peer;
    if (auto known = site.catalog.peer(reply->cluster.id)) peer = std::move(*known);
    peer.id = reply->cluster.id;
    peer.name = reply->cluster.name;
    peer.address = token.address;
    peer.fingerprint = token.fingerprint;
    peer.capabilities = reply->capabilities;
    peer.last_contact = site.clock.now();
    UNDERSTUDY_TRY(site.catalog.save_peer(peer));
    auto contacted = tasks::contact_peer(site, peer.id, context.capabilities());
    if (!contacted) spdlog::warn("first contact: {}", contacted.error().text());
    return Reply{200, {{"peer", peer}}};
}

Result<Reply> list(const Asked& asked) {
    auto peers = UNDERSTUDY_VALUE(asked.site().catalog.peers());
    auto views = json::array();
    const auto now = asked.site().clock.now();
    for (const auto& peer : peers) {
        json view = peer;
        // Known from the periodic contact. If the last one is 90 s old (three of the usual rounds),
        // it is not known.
        view["reachable"] = peer.last_contact && now - *peer.last_contact < Duration(90'000)
                                ? json(true)
                                : json(nullptr);
        views.push_back(std::move(view));
    }
    return Reply{200, {{"peers", std::move(views)}}};
}

// Whether the peer answers now. A question that changes nothing there: about no VM at all.
Result<> probe(tasks::Site& site, const ClusterId& peer) {
    auto link = UNDERSTUDY_VALUE(site.peers.to(peer));
    auto answer = link->look_up(VmId());
    if (!answer) return error_of(answer);
    return {};
}

Result<Reply> info(const Asked& asked) {
    auto peer = UNDERSTUDY_VALUE(find_peer(asked.site(), asked.path[1]));
    const auto answered = probe(asked.site(), peer.id);
    return Reply{200,
                 {{"peer", peer},
                  {"reachable", answered.has_value()},
                  {"error", answered ? "" : answered.error().text()}}};
}

// What a pairing is still needed for, in words. Empty: it is not needed.
Result<std::string> ties(tasks::Site& site, const model::Peer& peer) {
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    auto sent = UNDERSTUDY_VALUE(site.catalog.replications(std::nullopt));
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(std::nullopt));
    std::vector<std::string> found;
    const auto count = [&](const auto& list, auto belongs, const char* one, const char* more) {
        const auto n = std::ranges::count_if(list, belongs);
        if (n > 0) found.push_back(fmt::format("{} {}", n, n == 1 ? one : more));
    };
    count(
        vms, [&](const auto& vm) { return vm.ownership.owner == peer.id; }, "replica of it is here",
        "replicas of it are here");
    count(
        sent, [&](const auto& one) { return one.peer == peer.id; },
        "VM of this cluster is sent to it", "VMs of this cluster are sent to it");
    count(
        transfers, [&](const auto& one) { return one.source == peer.id; },
        "unfinished transfer from it is here", "unfinished transfers from it are here");
    count(
        active,
        [&](const auto& task) {
            return task.kind == "send" && task.arguments.contains(peer.id.text());
        },
        "send to it is not over", "sends to it are not over");
    return fmt::format("{}", fmt::join(found, ", "));
}

Result<Reply> remove(const Asked& asked) {
    auto& site = asked.site();
    auto peer = UNDERSTUDY_VALUE(find_peer(site, asked.path[1]));
    auto tied = UNDERSTUDY_VALUE(ties(site, peer));
    if (!tied.empty() && asked.query("force") != "1")
        return fail(
            Error(ErrorKind::refused, fmt::format("'{}' is still needed: {}", peer.name, tied))
                .keeping("the pairing")
                .advising("Release the VMs, remove the replicas and cancel the sends first, or use "
                          "--force: replicas and snapshots then stay, unfinished transfers are "
                          "removed, sends fail, and bases are no longer held."));
    // The peer goes first, so that it cannot begin a new transfer while its old ones are removed.
    UNDERSTUDY_TRY(site.catalog.remove_peer(peer.id));
    auto forgotten = asked.context.receiving.forget(peer.id);
    if (!forgotten)
        return fail(std::move(forgotten.error())
                        .during("remove what '" + peer.name + "' had begun to send"));
    return Reply{200, json::object()};
}

Result<> apply_map(const json& body, const char* name, std::map<std::string, std::string>& map) {
    const auto changes = body.find(name);
    if (changes == body.end()) return {};
    if (!changes->is_object())
        return fail(ErrorKind::invalid, fmt::format("field '{}' must be an object", name));
    for (const auto& [there, here] : changes->items()) {
        if (here.is_null())
            map.erase(there);
        else if (here.is_string() && map.size() < 1000)
            map[there] = here.get<std::string>();
        else
            return fail(ErrorKind::invalid,
                        fmt::format("'{}' in '{}' must be a text", there, name));
    }
    return {};
}

Result<Reply> map(const Asked& asked) {
    auto& site = asked.site();
    auto peer = UNDERSTUDY_VALUE(find_peer(site, asked.path[1]));
    UNDERSTUDY_TRY(apply_map(asked.body, "networks", peer.networks));
    UNDERSTUDY_TRY(apply_map(asked.body, "pools", peer.pools));
    for (const auto& [there, here] : peer.pools) UNDERSTUDY_TRY(site.pool(here));
    UNDERSTUDY_TRY(site.catalog.save_peer(peer));
    return Reply{200, {{"peer", peer}}};
}

Result<Reply> limit(const Asked& asked) {
    auto peer = UNDERSTUDY_VALUE(find_peer(asked.site(), asked.path[1]));
    auto rate = UNDERSTUDY_VALUE(number_field(asked.body, "rate_bytes", 0));
    peer.rate_limit = ByteSize(rate);
    UNDERSTUDY_TRY(asked.site().catalog.save_peer(peer));
    return Reply{200, {{"peer", peer}}};
}

}  // namespace

Answer answer_peers(const Asked& asked) {
    if (asked.path.empty()) return std::nullopt;
    if (asked.path[0] == "invites" && asked.is("POST", 1)) return invite(asked);
    if (asked.path[0] != "peers") return std::nullopt;
    if (asked.is("GET", 1)) return list(asked);
    if (asked.is("POST", 1)) return join(asked);
    if (asked.is("GET", 2)) return info(asked);
    if (asked.is("DELETE", 2)) return remove(asked);
    if (asked.is("PUT", 3) && asked.path[2] == "map") return map(asked);
    if (asked.is("PUT", 3) && asked.path[2] == "limit") return limit(asked);
    return std::nullopt;
}

}  // namespace understudy::api
