#include "base/base64.hpp"
#include "model/json.hpp"
#include "mover/block_digests.hpp"
#include "mover/digest.hpp"
#include "protocol/features.hpp"
#include "protocol/frames.hpp"
#include "protocol/messages.hpp"
#include "protocol/packing.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace understudy::protocol {
namespace {

using model::Codec;
using model::ExtentKind;

// The file's text; with UNDERSTUDY_GOLDEN_WRITE a missing file is made from `now`.
std::string golden(const std::string& name, const std::string& now) {
    const auto path = std::filesystem::path(GOLDEN_DIR) / name;
    if (!std::filesystem::exists(path) && std::getenv("UNDERSTUDY_GOLDEN_WRITE") != nullptr)
        std::ofstream(path) << now;
    std::ifstream file(path);
    EXPECT_TRUE(file.is_open()) << path;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// 16 bytes a line.
std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        text += fmt::format("{:02x}{}", std::to_integer<unsigned>(bytes[i]),
                            i % 16 == 15 || i + 1 == bytes.size() ? '\n' : ' ');
    return text;
}

std::vector<std::byte> unhex(const std::string& text) {
    std::istringstream words(text);
    std::vector<std::byte> bytes;
    for (unsigned value = 0; words >> std::hex >> value;)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

// The frame is what the file says; gives back the file's bytes for decoding.
std::vector<std::byte> expect_frame(const std::string& name, std::span<const std::byte> frame) {
    const auto text = golden(name, hex(frame));
    EXPECT_EQ(hex(frame), text) << name;
    return unhex(text);
}

FrameHeader header_of(std::span<const std::byte> frame) {
    auto header = decode_header(frame.first(kHeaderSize));
    EXPECT_TRUE(header.has_value()) << header.error().text();
    return header.value_or(FrameHeader{});
}

// zstd may compress differently from version to version; what it carries may not.
void unpack_definition(nlohmann::json& j) {
    if (!j.contains("definition")) return;
    for (auto& [key, value] : j["definition"].items())
        value = base::base64_encode(unpack(value.get<std::string>(), 1 << 20, key).value());
}

std::string expect_message(const std::string& name, const std::string& body) {
    auto now = nlohmann::json::parse(body);
    const auto text = golden(name, now.dump(2) + "\n");
    auto then = nlohmann::json::parse(text, nullptr, false);
    EXPECT_FALSE(then.is_discarded()) << name;
    if (then.is_discarded()) return text;
    unpack_definition(now);
    unpack_definition(then);
    EXPECT_EQ(now.dump(2), then.dump(2)) << name;
    return text;
}

template <class AnyId>
AnyId id(std::uint8_t n) {
    base::UuidBytes bytes{};
    bytes.fill(n);
    return AnyId(bytes);
}

model::Snapshot a_snapshot() {
    return {.id = id<SnapshotId>(3),
            .vm = id<VmId>(1),
            .name = "nightly",
            .parent = id<SnapshotId>(6),
            .taken = base::parse_time("2026-11-23T09:26:52.123Z").value(),
            .consistency = model::Consistency::filesystem,
            .epoch = 7,
            .origin = id<ClusterId>(2),
            .disks = {{"vda", id<VolumeId>(4), "vms", base::GiB(20)},
                      {"vdb", id<VolumeId>(5), "fast", ByteSize(5000)}}};
}

model::TransferRequest a_request() {
    model::TransferRequest v;
    v.vm = id<VmId>(1);
    v.vm_name = "web 1";
    v.ownership = {.epoch = 7, .owner = id<ClusterId>(2), .phase = model::Phase::owned};
    v.snapshot = a_snapshot();
    v.definition = {.domain_xml = "<domain><name>web 1</name></domain>\n",
                    .nvram = std::string(1000, '\xFF')};
    v.base = id<SnapshotId>(6);
    return v;
}

model::Capabilities capabilities() {
    model::Capabilities v;
    v.version = "0.1.0";
    v.features = {"chunks-1", "codec-lz4", "codec-zstd", "definition-zstd"};
    v.pools = {{"vms", "qcow2", base::GiB(100), base::GiB(40)}};
    v.networks = {"default", "br0"};
    v.machines = {"pc-q35-7.2", "q35"};
    v.cpu_models = {"EPYC-Rome"};
    v.host_arch = "x86_64";
    v.uefi = true;
    v.kvm = true;
    return v;
}

const model::Totals kTotals{.chunks = 3,
                            .bytes = 1'052'672,
                            .digest_high = 0xF123456789ABCDEF,
                            .digest_low = 0x0123456789ABCDEF};
const std::vector<model::ReadinessIssue> kReadiness{
    {model::Severity::blocks, "tpm", "the TPM's state does not travel"},
    {model::Severity::warns, "network:lan", "map network 'lan'"}};

TEST(GoldenFrames, chunk_of_data) {
    std::vector<std::byte> content(4096);
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i % 251);
    const auto payload = std::span(content).first(1000);
    const model::Chunk chunk{.sequence = 0x0102030405060708 & kMaxSequence >> 1,
                             .disk = 1,
                             .offset = ByteOffset(0x10203000),
                             .length = ByteSize(4096),
                             .kind = ExtentKind::data,
                             .codec = Codec::lz4,
                             .digest = mover::digest_of(content),
                             .payload = payload};
    const auto frame = expect_frame("chunk_data.hex", encode_chunk_header(chunk));
    const auto back = chunk_of(header_of(frame), payload);
    EXPECT_EQ(back.sequence, chunk.sequence);
    EXPECT_EQ(back.disk, chunk.disk);
    EXPECT_EQ(back.offset, chunk.offset);
    EXPECT_EQ(back.length, chunk.length);
    EXPECT_EQ(back.codec, chunk.codec);
    EXPECT_EQ(back.digest, chunk.digest);
}

TEST(GoldenFrames, chunk_of_zeroes) {
    const model::Chunk chunk{.sequence = 2,
                             .disk = 255,
                             .offset = ByteOffset(4096),
                             .length = kMaxZeroRange,
                             .kind = ExtentKind::zero,
                             .payload = {}};
    const auto frame = expect_frame("chunk_zero.hex", encode_chunk_header(chunk));
    EXPECT_EQ(header_of(frame).length, kMaxZeroRange);
    EXPECT_EQ(header_of(frame).kind, ExtentKind::zero);
}

TEST(GoldenFrames, flush_request_and_goodbye) {
    const auto flush = expect_frame("flush_request.hex", encode_flush_request(513));
    EXPECT_EQ(header_of(flush).type, FrameType::flush_request);
    EXPECT_EQ(header_of(flush).sequence, 513U);
    const auto bye = expect_frame("goodbye.hex", encode_goodbye());
    EXPECT_EQ(header_of(bye).type, FrameType::goodbye);
}

TEST(GoldenFrames, acknowledgement) {
    const model::Ack ack{.totals = kTotals,
                         .durable = {.disk = 1, .offset = ByteOffset(0x123456789000)}};
    const auto frame = expect_frame("ack.hex", encode_ack(ack));
    const auto back = decode_ack(header_of(frame), std::span(frame).subspan(kHeaderSize));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->totals, ack.totals);
    EXPECT_EQ(back->durable, ack.durable);
}

TEST(GoldenFrames, error) {
    const auto frame = expect_frame("error.hex", encode_error(Error(ErrorKind::no_space, "full")
                                                                  .during("write disk 0")
                                                                  .keeping("41 GiB")
                                                                  .advising("Make room.")));
    const auto error = decode_error(header_of(frame), std::span(frame).subspan(kHeaderSize));
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
    EXPECT_EQ(error.text(), "write disk 0: full. Kept: 41 GiB. Make room.");
}

TEST(GoldenTotals, are_counted_as_released) {
    model::Totals totals;
    mover::add_chunk(totals, {.disk = 1,
                              .offset = ByteOffset(8192),
                              .length = ByteSize(4),
                              .digest = mover::digest_of(std::as_bytes(std::span("abc"))),
                              .payload = {}});
    mover::add_chunk(totals, {.offset = ByteOffset(0),
                              .length = ByteSize(1 << 20),
                              .kind = ExtentKind::zero,
                              .payload = {}});
    expect_message("totals.json", model::dump_json(totals));
}

TEST(GoldenMessages, pairing) {
    const PairRequest request{.secret = "0123456789abcdef",
                              .cluster = {.id = id<ClusterId>(2), .name = "prod"},
                              .address = "10.0.0.1:7373",
                              .certificate_pem = "-----BEGIN CERTIFICATE-----\n"};
    const auto body = expect_message("pair_request.json", encode_pair_request(request));
    EXPECT_EQ(decode_pair_request(body).value(), request);
    const PairReply reply{.cluster = {.id = id<ClusterId>(9), .name = "dr"},
                          .capabilities = capabilities()};
    const auto answer = expect_message("pair_reply.json", encode_pair_reply(reply));
    EXPECT_EQ(decode_pair_reply(answer).value(), reply);
}

TEST(GoldenMessages, capabilities_and_ownership) {
    const auto body = expect_message("capabilities.json", encode_capabilities(capabilities()));
    EXPECT_EQ(decode_capabilities(body).value(), capabilities());
    const std::vector<ports::OwnershipNote> notes{
        {id<VmId>(1),
         {.epoch = 8, .owner = id<ClusterId>(9), .phase = model::Phase::handing_over}}};
    const auto exchanged = expect_message("ownership.json", encode_ownership(notes));
    const auto back = decode_ownership(exchanged).value();
    ASSERT_EQ(back.size(), 1U);
    EXPECT_EQ(back[0].vm, notes[0].vm);
    EXPECT_EQ(back[0].ownership, notes[0].ownership);
}

TEST(GoldenMessages, what_a_peer_holds) {
    const ports::PeerVm vm{
        .known = true,
        .ownership = {.epoch = 7, .owner = id<ClusterId>(2), .phase = model::Phase::replica},
        .snapshots = {id<SnapshotId>(3), id<SnapshotId>(6)}};
    const auto back = decode_peer_vm(expect_message("peer_vm.json", encode_peer_vm(vm))).value();
    EXPECT_EQ(back.ownership, vm.ownership);
    EXPECT_EQ(back.snapshots, vm.snapshots);
    const auto none = expect_message("peer_vm_unknown.json", encode_peer_vm({}));
    EXPECT_FALSE(decode_peer_vm(none)->known);
}

TEST(GoldenMessages, handover) {
    const ports::Handover handover{
        .vm = {},
        .ownership = {.epoch = 8, .owner = id<ClusterId>(2), .phase = model::Phase::handing_over},
        .snapshot = id<SnapshotId>(3),
        .start = true,
        .autostart = true,
        .accept = {"tpm"}};
    const auto back =
        decode_handover(expect_message("handover.json", encode_handover(handover))).value();
    EXPECT_EQ(back.ownership, handover.ownership);
    EXPECT_EQ(back.snapshot, handover.snapshot);
    EXPECT_TRUE(back.start && back.autostart);
    EXPECT_EQ(back.accept, handover.accept);
    const model::Ownership taken{
        .epoch = 8, .owner = id<ClusterId>(2), .phase = model::Phase::owned};
    EXPECT_EQ(decode_record(expect_message("record.json", encode_record(taken))), taken);
    const ports::PeerVm owned{.known = true,
                              .ownership = taken,
                              .snapshots = {},
                              .state = "stopped",
                              .trouble = "start: no such bridge"};
    const auto told =
        decode_peer_vm(expect_message("peer_vm_owned.json", encode_peer_vm(owned))).value();
    EXPECT_EQ(told.state, owned.state);
    EXPECT_EQ(told.trouble, owned.trouble);
}

TEST(GoldenMessages, offer) {
    const auto request = a_request();
    const auto body = expect_message("offer_request.json", encode_offer_request(request).value());
    const auto back = decode_offer_request(body);
    ASSERT_TRUE(back.has_value()) << back.error().text();
    EXPECT_EQ(back->snapshot, request.snapshot);
    EXPECT_EQ(back->definition, request.definition);
    EXPECT_EQ(back->ownership, request.ownership);
    EXPECT_EQ(back->base, request.base);
    const model::TransferOffer offer{.id = id<TransferId>(8),
                                     .durable = {.disk = 1, .offset = ByteOffset(4096)},
                                     .complete = false,
                                     .readiness = kReadiness};
    const auto answer = expect_message("offer_reply.json", encode_offer_reply(offer));
    EXPECT_EQ(decode_offer_reply(answer)->durable, offer.durable);
    EXPECT_EQ(decode_offer_reply(answer)->readiness, kReadiness);
}

// zstd may compress differently from version to version; what it carries may not.
std::string unpacked(const std::string& body, const char* field) {
    auto j = nlohmann::json::parse(body);
    j[field] = base::base64_encode(unpack(j[field].get<std::string>(), 1 << 20, field).value());
    return j.dump(2) + "\n";
}

TEST(GoldenMessages, resync_in_an_offer) {
    auto request = a_request();
    request.base.reset();
    request.resync = {{id<VolumeId>(4), id<SnapshotId>(7)}};
    const auto body = expect_message("offer_resync.json", encode_offer_request(request).value());
    EXPECT_EQ(decode_offer_request(body)->resync, request.resync);
}

TEST(GoldenMessages, questions_of_a_comparison) {
    const model::DigestQuestion digests{
        id<VmId>(1),
        id<SnapshotId>(3),
        id<VolumeId>(4),
        base::KiB(64),
        {{ByteOffset(0), base::MiB(4)}, {ByteOffset(1 << 30), base::KiB(64)}}};
    const auto asked = expect_message("digest_question.json", encode_digest_question(digests));
    EXPECT_EQ(decode_digest_question(asked).value(), digests);
    const model::RangeQuestion range{id<VmId>(1), id<SnapshotId>(3), id<VolumeId>(4),
                                     ByteOffset(4096), ByteSize(8192)};
    const auto wanted = expect_message("range_question.json", encode_range_question(range));
    EXPECT_EQ(decode_range_question(wanted).value(), range);
    const ContentsQuestion contents{id<VmId>(1), {id<VolumeId>(4), id<VolumeId>(5)}};
    const auto of = expect_message("contents_question.json", encode_contents_question(contents));
    EXPECT_EQ(decode_contents_question(of).value(), contents);
}

TEST(GoldenMessages, answers_of_a_comparison) {
    model::DigestAnswer digests;
    digests.blocks.resize(3);
    digests.blocks[1] = {model::BlockDigest::Kind::data,
                         mover::sha256_of(std::as_bytes(std::span("abc")))};
    digests.blocks[2].kind = model::BlockDigest::Kind::unreadable;
    digests.failure = "read: a bad sector";
    const auto body = encode_digest_answer(digests).value();
    const auto text = golden("digest_answer.json", unpacked(body, "digests_zstd"));
    EXPECT_EQ(unpacked(body, "digests_zstd"), text);
    EXPECT_EQ(decode_digest_answer(body)->blocks, digests.blocks);
    EXPECT_EQ(decode_digest_answer(body)->failure, digests.failure);

    RangeReply range{std::string(5000, 'x'), {}};
    range.sha256 = mover::sha256_of(std::as_bytes(std::span(range.bytes)));
    const auto reply = encode_range_reply(range).value();
    EXPECT_EQ(unpacked(reply, "bytes_zstd"),
              golden("range_reply.json", unpacked(reply, "bytes_zstd")));
    EXPECT_EQ(decode_range_reply(reply).value(), range);

    const std::vector<model::VolumeBase> contents{{id<VolumeId>(4), id<SnapshotId>(6)}};
    const auto held = expect_message("contents_reply.json", encode_contents_reply(contents));
    EXPECT_EQ(decode_contents_reply(held).value(), contents);
}

TEST(GoldenMessages, commit_and_error) {
    const CommitRequest commit{.attempt = 4, .totals = kTotals};
    const auto body = expect_message("commit_request.json", encode_commit_request(commit));
    EXPECT_EQ(decode_commit_request(body).value(), commit);
    const auto answer = expect_message("commit_reply.json", encode_commit_reply(kReadiness));
    EXPECT_EQ(decode_commit_reply(answer).value(), kReadiness);
    const auto error = expect_message(
        "error_reply.json",
        encode_error_reply(
            Error(ErrorKind::refused, "no").during("offer").keeping("nothing").advising("Ask.")));
    EXPECT_EQ(decode_error_reply(error, 403).text(), "offer: no. Kept: nothing. Ask.");
}

}  // namespace
}  // namespace understudy::protocol
