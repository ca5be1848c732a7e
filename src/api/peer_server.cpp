#include "api/peer_server.hpp"

#include "api/pairing.hpp"
#include "api/peer_channel.hpp"
#include "mover/block_digests.hpp"
#include "net/secrets.hpp"
#include "protocol/limits.hpp"
#include "protocol/messages.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/take_over.hpp"
#include "tasks/proof/proving.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>

// The peers' API: each request is admitted (the certificate's fingerprint is a peer's, and the
// announced body fits), routed, decoded and handed to tasks/, which decides whether that peer may
// ask it. `pair` alone is open to any certificate: it checks the request, uses up the invitation
// and saves the peer. If the daemon dies between these two, the invitation is used up, and the
// operator makes a new one. A channel is joined before the upgrade is answered, so that a refusal
// is an ordinary answer. Called by many threads.

namespace understudy::api {
namespace {

net::HttpResponse refusal(const Error& error) {
    net::HttpResponse response;
    response.status = net::status_of(error.kind());
    response.body = protocol::encode_error_reply(error);
    return response;
}

template <class T, class Encode>
Result<std::string> encoded(Result<T> result, Encode encode) {
    if (!result) return error_of(result);
    return encode(*result);
}

// Checks the length of a body before the body is read. Only an offer may be large. A request
// without a Content-Length has no body and is accepted. A Transfer-Encoding is refused, because it
// does not say the length beforehand.
Result<> check_length(const net::HttpRequest& request) {
    if (request.headers.find("Transfer-Encoding") != nullptr)
        return fail(ErrorKind::invalid, "a body needs a Content-Length");
    const auto* text = request.headers.find("Content-Length");
    auto route = protocol::parse_route(request.method, request.target);
    if (text == nullptr || !route) return {};
    std::uint64_t length = 0;
    const auto read = std::from_chars(text->data(), text->data() + text->size(), length);
    if (read.ec != std::errc{} || length > protocol::body_limit(route->call))
        return fail(ErrorKind::invalid, "the body is too large for this call");
    return {};
}

net::HttpServer::Options options_for(
    std::function<Result<model::Peer>(const net::HttpRequest&)> peer_of) {
    net::HttpServer::Options options;
    options.body_limit = protocol::kMaxOfferBody;
    options.log = [](const std::string& line) { spdlog::info("peers' port: {}", line); };
    options.admit = [peer_of = std::move(peer_of)](
                        const net::HttpRequest& request) -> std::optional<net::HttpResponse> {
        if (request.path != protocol::kPairPath) {
            auto peer = peer_of(request);
            if (!peer) return refusal(peer.error());
        }
        auto fits = check_length(request);
        if (!fits) return refusal(fits.error());
        return std::nullopt;
    };
    return options;
}

}  // namespace

PeerServer::PeerServer(tasks::Site& site, tasks::Receiving& receiving,
                       std::function<model::Capabilities()> capabilities)
    : site_(site),
      receiving_(receiving),
      capabilities_(std::move(capabilities)),
      server_(options_for([this](const net::HttpRequest& request) { return peer_of(request); })) {}

Result<> PeerServer::start(Fd listener, const net::Identity& identity) {
    auto tls =
        UNDERSTUDY_VALUE(net::TlsContext::server(identity, net::ClientCertificate::required));
    return server_.start(
        std::move(listener), tls,
        [this](const net::HttpRequest& request) { return handle(request); },
        [this](const net::HttpRequest& request, std::unique_ptr<net::Stream> stream) {
            upgraded(request, std::move(stream));
        });
}

void PeerServer::stop() {
    server_.stop();
}

Result<model::Peer> PeerServer::peer_of(const net::HttpRequest& request) {
    auto peer = UNDERSTUDY_VALUE(site_.catalog.find_peer_by_fingerprint(request.peer_fingerprint));
    if (request.peer_fingerprint.empty() || !peer)
        return fail(Error(ErrorKind::refused,
                          fmt::format("'{}' does not know this certificate", site_.cluster.name))
                        .advising("Pair the clusters: `understudy peer invite` on one side, "
                                  "`understudy peer join` on the other."));
    return std::move(*peer);
}

net::HttpResponse PeerServer::handle(const net::HttpRequest& request) {
    auto route = protocol::parse_route(request.method, request.target);
    if (!route) return refusal(route.error());
    if (route->call == protocol::Call::channel) {
        // Joined before the upgrade, so that a refusal can still be an ordinary answer.
        auto receiver = join(request, *route);
        if (!receiver) return refusal(receiver.error());
        net::HttpResponse response;
        response.status = 101;
        return response;
    }
    auto body = route->call == protocol::Call::pair ? pair(request) : answer(request, *route);
    if (!body) return refusal(body.error());
    net::HttpResponse response;
    response.body = std::move(*body);
    return response;
}

Result<std::shared_ptr<mover::Receiver>> PeerServer::join(const net::HttpRequest& request,
                                                          const protocol::Route& route) {
    auto peer = UNDERSTUDY_VALUE(peer_of(request));
    return receiving_.join(peer.id, route.transfer, route.attempt);
}

Result<std::string> PeerServer::answer(const net::HttpRequest& request,
                                       const protocol::Route& route) {
    auto peer = UNDERSTUDY_VALUE(peer_of(request));
    switch (route.call) {
        case protocol::Call::capabilities: {
            auto theirs = UNDERSTUDY_VALUE(protocol::decode_capabilities(request.body));
            UNDERSTUDY_TRY(site_.catalog.touch_peer(peer.id, site_.clock.now(), theirs));
            return protocol::encode_capabilities(capabilities_());
        }
        case protocol::Call::ownership: return ownership(peer, request.body);
        case protocol::Call::look_up:
            return encoded(receiving_.look_up(peer.id, route.vm), protocol::encode_peer_vm);
        case protocol::Call::vm_state:
            return encoded(receiving_.look_up_state(peer.id, route.vm), protocol::encode_peer_vm);
        case protocol::Call::handover: {
            auto asked = UNDERSTUDY_VALUE(protocol::decode_handover(request.body));
            asked.vm = route.vm;
            return encoded(tasks::take_over(site_, peer.id, asked), protocol::encode_record);
        }
        case protocol::Call::take_back: {
            auto offered = UNDERSTUDY_VALUE(protocol::decode_record(request.body));
            return encoded(tasks::decline(site_, peer.id, route.vm, offered),
                           protocol::encode_record);
        }
        case protocol::Call::offer: {
            auto asked = UNDERSTUDY_VALUE(protocol::decode_offer_request(request.body));
            return encoded(receiving_.offer(peer.id, asked), protocol::encode_offer_reply);
        }
        case protocol::Call::commit: {
            auto asked = UNDERSTUDY_VALUE(protocol::decode_commit_request(request.body));
            return encoded(receiving_.commit(peer.id, route.transfer, asked.attempt, asked.totals),
                           protocol::encode_commit_reply);
        }
        case protocol::Call::abandon:
            UNDERSTUDY_TRY(receiving_.abandon(peer.id, route.transfer));
            return std::string("{}");
        case protocol::Call::digests:
        case protocol::Call::range:
        case protocol::Call::contents: return compare(peer, route.call, request.body);
        default: return fail(ErrorKind::not_found, "no such call");
    }
}

Result<std::string> PeerServer::ownership(const model::Peer& peer, const std::string& body) {
    auto theirs = UNDERSTUDY_VALUE(protocol::decode_ownership(body));
    UNDERSTUDY_TRY(tasks::apply_peer_ownership(site_, peer.id, theirs));
    return encoded(tasks::ownership_notes_for(site_, peer.id), protocol::encode_ownership);
}

Result<std::string> PeerServer::compare(const model::Peer& peer, protocol::Call call,
                                        const std::string& body) {
    if (call == protocol::Call::digests) {
        auto asked = UNDERSTUDY_VALUE(protocol::decode_digest_question(body));
        auto answer = UNDERSTUDY_VALUE(tasks::answer_digests(site_, peer.id, asked));
        return protocol::encode_digest_answer(answer);
    }
    if (call == protocol::Call::range) {
        auto asked = UNDERSTUDY_VALUE(protocol::decode_range_question(body));
        auto bytes = UNDERSTUDY_VALUE(tasks::answer_range(site_, peer.id, asked));
        const auto digest = mover::sha256_of(std::as_bytes(std::span(bytes)));
        return protocol::encode_range_reply({std::move(bytes), digest});
    }
    auto asked = UNDERSTUDY_VALUE(protocol::decode_contents_question(body));
    return encoded(tasks::answer_contents(site_, peer.id, asked.vm, asked.volumes),
                   protocol::encode_contents_reply);
}

Result<std::string> PeerServer::pair(const net::HttpRequest& request) {
    auto asked = UNDERSTUDY_VALUE(protocol::decode_pair_request(request.body));
    auto fingerprint = net::fingerprint(asked.certificate_pem);
    if (!fingerprint || *fingerprint != request.peer_fingerprint)
        return fail(ErrorKind::refused,
                    "the certificate in the request is not the certificate of this connection");
    auto peers = UNDERSTUDY_VALUE(site_.catalog.peers());
    UNDERSTUDY_TRY(check_new_peer(site_.cluster, peers, asked.cluster, *fingerprint));
    model::Peer peer;
    for (const auto& known : peers)
        if (known.id == asked.cluster.id) peer = known;
    auto taken = UNDERSTUDY_VALUE(
        site_.catalog.take_invite(net::sha256_hex(asked.secret), site_.clock.now()));
    if (!taken)
        return fail(Error(ErrorKind::refused, "this invitation has expired or was used")
                        .advising("Make a new one with `understudy peer invite`."));
    peer.id = asked.cluster.id;
    peer.name = asked.cluster.name;
    peer.address = asked.address;
    peer.certificate_pem = asked.certificate_pem;
    peer.fingerprint = *fingerprint;
    peer.last_contact = site_.clock.now();
    UNDERSTUDY_TRY(site_.catalog.save_peer(peer));
    spdlog::info("paired with '{}' at {}", peer.name, peer.address);
    return protocol::encode_pair_reply({site_.cluster, capabilities_()});
}

void PeerServer::upgraded(const net::HttpRequest& request, std::unique_ptr<net::Stream> stream) {
    auto route = protocol::parse_route(request.method, request.target);
    if (!route) return;
    auto receiver = join(request, *route);
    if (receiver) serve_channel(*stream, **receiver, site_.clock, site_.settings.link_patience);
}

}  // namespace understudy::api
