#include "api/peer_client.hpp"

#include "api/peer_channel.hpp"
#include "mover/block_digests.hpp"
#include "net/http_client.hpp"
#include "protocol/paths.hpp"

#include <fmt/format.h>

// The calls of PeerLink as HTTP requests over TLS with a pinned certificate. Short calls share one
// kept connection and take turns, 15 s each; questions of a comparison share another, 120 s each;
// long ones (offer, commit, abandon), 600 s, and channels have a connection of their own. Nothing
// is kept here; after a crash or a broken connection the caller repeats the call, which is
// idempotent.

namespace understudy::api {
namespace {

constexpr std::uint16_t kPeerPort = 7373;
constexpr Duration kShort{15'000};
constexpr Duration kComparing{120'000};  // bounded work, but disks may be slow, and others go first
constexpr Duration kLong{600'000};       // a commit waits for the target's disks

Result<net::Connector> connector_to(const net::Identity& identity, const std::string& name,
                                    const std::string& address, const std::string& fingerprint) {
    auto endpoint = UNDERSTUDY_VALUE(net::parse_endpoint(address, kPeerPort));
    auto tls = UNDERSTUDY_VALUE(net::TlsContext::client(identity, fingerprint));
    return net::tls_connector(name, endpoint, tls);
}

Result<std::string> body_of(Result<net::HttpResponse> response) {
    if (!response) return error_of(response);
    if (response->status / 100 == 2) return std::move(response->body);
    return fail(protocol::decode_error_reply(response->body, response->status));
}

class NetPeerLink final : public ports::PeerLink {
public:
    NetPeerLink(std::string name, net::Connector connector, Duration patience)
        : name_(std::move(name)),
          connector_(std::move(connector)),
          patience_(patience),
          client_(connector_),
          compare_client_(connector_) {}

    Result<model::Capabilities> exchange_capabilities(const model::Capabilities& ours) override {
        auto body = UNDERSTUDY_VALUE(call("POST", std::string(protocol::kCapabilitiesPath),
                                          protocol::encode_capabilities(ours)));
        return protocol::decode_capabilities(body);
    }

    Result<std::vector<ports::OwnershipNote>> exchange_ownership(
        const std::vector<ports::OwnershipNote>& ours) override {
        auto body = UNDERSTUDY_VALUE(
            call("POST", std::string(protocol::kOwnershipPath), protocol::encode_ownership(ours)));
        return protocol::decode_ownership(body);
    }

    Result<ports::PeerVm> look_up(const VmId& vm) override {
        auto body = UNDERSTUDY_VALUE(call("GET", protocol::look_up_path(vm), {}));
        return protocol::decode_peer_vm(body);
    }

    Result<ports::PeerVm> look_up_state(const VmId& vm) override {
        auto body = UNDERSTUDY_VALUE(call("GET", protocol::vm_state_path(vm), {}));
        return protocol::decode_peer_vm(body);
    }

    Result<model::TransferOffer> offer(const model::TransferRequest& request) override {
        auto encoded = UNDERSTUDY_VALUE(protocol::encode_offer_request(request));
        auto body =
            UNDERSTUDY_VALUE(call_long("POST", std::string(protocol::kTransfersPath), encoded));
        return protocol::decode_offer_reply(body);
    }

    Result<std::unique_ptr<ports::ChunkChannel>> open_channel(const TransferId& transfer,
                                                              std::uint64_t attempt) override {
        net::HttpClient client(connector_);
        net::HttpResponse declined;
        auto stream = client.upgrade(protocol::channel_path(transfer, attempt), protocol::kUpgrade,
                                     {}, patience_, &declined);
        if (stream) return make_channel(std::move(*stream), patience_);
        if (!declined.body.empty())
            return fail(protocol::decode_error_reply(declined.body, declined.status));
        return fail(std::move(stream.error()).during("open a channel to " + name_));
    }

    Result<std::vector<model::ReadinessIssue>> commit(const TransferId& transfer,
                                                      std::uint64_t attempt,
                                                      const model::Totals& totals) override {
        auto body = UNDERSTUDY_VALUE(call_long("POST", protocol::commit_path(transfer),
                                               protocol::encode_commit_request({attempt, totals})));
        return protocol::decode_commit_reply(body);
    }

    Result<> abandon(const TransferId& transfer) override {
        auto body = UNDERSTUDY_VALUE(call_long("DELETE", protocol::transfer_path(transfer), {}));
        return {};
    }

    Result<model::Ownership> hand_over(const ports::Handover& handover) override {
        return record_after(protocol::handover_path(handover.vm),
                            protocol::encode_handover(handover));
    }

    Result<model::Ownership> take_back(const VmId& vm, const model::Ownership& offered) override {
        return record_after(protocol::take_back_path(vm), protocol::encode_record(offered));
    }

    Result<model::DigestAnswer> digests(const model::DigestQuestion& asked) override {
        std::uint64_t wire_bytes = 0;
        auto body = UNDERSTUDY_VALUE(
            compare(protocol::kDigestsPath, protocol::encode_digest_question(asked), wire_bytes));
        auto answer = protocol::decode_digest_answer(body);
        if (answer) answer->wire_bytes = wire_bytes;
        return answer;
    }

    Result<model::RangeAnswer> read_range(const model::RangeQuestion& asked) override {
        std::uint64_t wire_bytes = 0;
        auto body = UNDERSTUDY_VALUE(
            compare(protocol::kRangePath, protocol::encode_range_question(asked), wire_bytes));
        auto answer = UNDERSTUDY_VALUE(protocol::decode_range_reply(body));
        const bool whole =
            answer.bytes.size() == asked.length.count() &&
            mover::sha256_of(std::as_bytes(std::span(answer.bytes))) == answer.sha256;
        if (!whole) return fail(ErrorKind::corrupt, "a range of a disk arrived damaged");
        return model::RangeAnswer{std::move(answer.bytes), wire_bytes};
    }

    Result<std::vector<model::VolumeBase>> contents(const VmId& vm,
                                                    const std::vector<VolumeId>& volumes) override {
        std::uint64_t wire_bytes = 0;
        auto body = UNDERSTUDY_VALUE(compare(protocol::kContentsPath,
                                             protocol::encode_contents_question({vm, volumes}),
                                             wire_bytes));
        return protocol::decode_contents_reply(body);
    }

private:
    // A comparison asks hundreds of questions, so they share a kept connection. It is not the one
    // of call(), so that other calls do not wait for them. The questions change nothing, so one
    // that fails as unavailable is asked once more on a new connection.
    Result<std::string> compare(std::string_view path, const std::string& body,
                                std::uint64_t& wire_bytes) {
        const std::lock_guard lock(compare_mutex_);
        auto answer = body_of(compare_client_.request("POST", path, body, {}, kComparing));
        if (!answer && answer.error().kind() == ErrorKind::unavailable) {
            compare_client_ = net::HttpClient(connector_);
            answer = body_of(compare_client_.request("POST", path, body, {}, kComparing));
        }
        if (!answer) return fail(std::move(answer.error()).during("ask " + name_));
        wire_bytes = body.size() + answer->size();
        return answer;
    }

    Result<model::Ownership> record_after(const std::string& path, const std::string& request) {
        auto body = UNDERSTUDY_VALUE(call("POST", path, request));
        return protocol::decode_record(body);
    }

    Result<std::string> call(std::string_view method, const std::string& path,
                             const std::string& body) {
        const std::lock_guard lock(mutex_);
        auto answer = body_of(client_.request(method, path, body, {}, kShort));
        if (!answer) return fail(std::move(answer.error()).during("ask " + name_));
        return answer;
    }

    // A call that may take long has a new connection of its own. If it used a kept one that has
    // died silently, it would wait for kLong in vain, and other calls would wait for it.
    Result<std::string> call_long(std::string_view method, const std::string& path,
                                  const std::string& body) {
        net::HttpClient client(connector_);
        auto answer = body_of(client.request(method, path, body, {}, kLong));
        if (!answer) return fail(std::move(answer.error()).during("ask " + name_));
        return answer;
    }

    std::string name_;
    net::Connector connector_;
    Duration patience_;
    std::mutex mutex_;  // guards client_, which is one connection
    net::HttpClient client_;
    std::mutex compare_mutex_;  // guards compare_client_
    net::HttpClient compare_client_;
};

}  // namespace

Result<std::shared_ptr<ports::PeerLink>> NetPeerLinks::to(const ClusterId& id) {
    auto peer = UNDERSTUDY_VALUE(catalog_.peer(id));
    const std::lock_guard lock(mutex_);
    auto& known = links_[id];
    if (!known.link || known.address != peer.address || known.fingerprint != peer.fingerprint) {
        auto connector =
            UNDERSTUDY_VALUE(connector_to(identity_, peer.name, peer.address, peer.fingerprint));
        known = {peer.address, peer.fingerprint,
                 std::make_shared<NetPeerLink>(peer.name, std::move(connector), patience_)};
    }
    return known.link;
}

Result<protocol::PairReply> pair_with(const net::Identity& identity, const std::string& address,
                                      const std::string& fingerprint,
                                      const protocol::PairRequest& request) {
    auto connector =
        UNDERSTUDY_VALUE(connector_to(identity, "the inviting cluster", address, fingerprint));
    net::HttpClient client(std::move(connector));
    auto body = UNDERSTUDY_VALUE(body_of(client.request(
        "POST", protocol::kPairPath, protocol::encode_pair_request(request), {}, kShort)));
    return protocol::decode_pair_reply(body);
}

}  // namespace understudy::api
