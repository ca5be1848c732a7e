#pragma once

#include "model/cluster.hpp"
#include "model/transfer.hpp"
#include "ports/peer_link.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The JSON bodies of the peers' API, one pair of functions for each. Decoding trusts nothing: it
// checks the limits of limits.hpp, that ids are there and not nil, and that names have no control
// characters. An error is `invalid` and names the field. Unknown fields are ignored, so that
// neighbouring versions can talk. The body of a request was bounded by body_limit() before it was
// read; that of a reply only by the HTTP client (net/http_client.hpp).
namespace understudy::protocol {

struct PairRequest {
    std::string secret;  // one-time, from the invitation; never logged
    model::Cluster cluster;
    std::string address;  // host:port where the joining side listens for peers
    // The joining side's certificate. It counts only if the TLS session was made with the same one.
    std::string certificate_pem;
    bool operator==(const PairRequest&) const = default;
};

struct PairReply {
    model::Cluster cluster;
    model::Capabilities capabilities;
    bool operator==(const PairReply&) const = default;
};

struct CommitRequest {
    std::uint64_t attempt = 0;
    model::Totals totals;
    bool operator==(const CommitRequest&) const = default;
};

std::string encode_pair_request(const PairRequest&);
Result<PairRequest> decode_pair_request(std::string_view body);
std::string encode_pair_reply(const PairReply&);
Result<PairReply> decode_pair_reply(std::string_view body);

// Request and reply alike.
std::string encode_capabilities(const model::Capabilities&);
Result<model::Capabilities> decode_capabilities(std::string_view body);

// Request and reply alike.
std::string encode_ownership(const std::vector<ports::OwnershipNote>&);
Result<std::vector<ports::OwnershipNote>> decode_ownership(std::string_view body);

std::string encode_peer_vm(const ports::PeerVm&);
Result<ports::PeerVm> decode_peer_vm(std::string_view body);

// The VM is named by the path.
std::string encode_handover(const ports::Handover&);
Result<ports::Handover> decode_handover(std::string_view body);
// One record of ownership: the request of take_back, and the reply to hand_over and take_back.
std::string encode_record(const model::Ownership&);
Result<model::Ownership> decode_record(std::string_view body);

// invalid: the definition is too large to travel.
Result<std::string> encode_offer_request(const model::TransferRequest&);
Result<model::TransferRequest> decode_offer_request(std::string_view body);
std::string encode_offer_reply(const model::TransferOffer&);
Result<model::TransferOffer> decode_offer_reply(std::string_view body);

std::string encode_commit_request(const CommitRequest&);
Result<CommitRequest> decode_commit_request(std::string_view body);
std::string encode_commit_reply(const std::vector<model::ReadinessIssue>&);
Result<std::vector<model::ReadinessIssue>> decode_commit_reply(std::string_view body);

std::string encode_digest_question(const model::DigestQuestion&);
Result<model::DigestQuestion> decode_digest_question(std::string_view body);
Result<std::string> encode_digest_answer(const model::DigestAnswer&);
Result<model::DigestAnswer> decode_digest_answer(std::string_view body);

std::string encode_range_question(const model::RangeQuestion&);
Result<model::RangeQuestion> decode_range_question(std::string_view body);
// Bytes and their SHA-256. Decoding does not compare the two; the caller must.
struct RangeReply {
    std::string bytes;
    model::Sha256 sha256{};
    bool operator==(const RangeReply&) const = default;
};
Result<std::string> encode_range_reply(const RangeReply&);
Result<RangeReply> decode_range_reply(std::string_view body);

struct ContentsQuestion {
    VmId vm;
    std::vector<VolumeId> volumes;
    bool operator==(const ContentsQuestion&) const = default;
};
std::string encode_contents_question(const ContentsQuestion&);
Result<ContentsQuestion> decode_contents_question(std::string_view body);
std::string encode_contents_reply(const std::vector<model::VolumeBase>&);
Result<std::vector<model::VolumeBase>> decode_contents_reply(std::string_view body);

// The body of every reply that is not 2xx.
std::string encode_error_reply(const Error&);
// The peer's error. If the body is none (it may be a proxy's page), an error that says so.
Error decode_error_reply(std::string_view body, int http_status);

}  // namespace understudy::protocol
