#include "protocol/messages.hpp"

#include "protocol/features.hpp"
#include "protocol/limits.hpp"
#include "protocol/packing.hpp"
#include "protocol/paths.hpp"

#include <gmock/gmock.h>

#include <random>

namespace understudy::protocol {
namespace {

using testing::HasSubstr;

template <class AnyId>
AnyId id(std::uint64_t n) {
    return AnyId(base::uuid_from_random(n, ~n));
}

model::TransferRequest a_request() {
    model::TransferRequest v;
    v.vm = id<VmId>(1);
    v.vm_name = "web 1 'ä' $(rm)";
    v.ownership = {.epoch = 3, .owner = id<ClusterId>(2), .phase = model::Phase::owned};
    v.snapshot.id = id<SnapshotId>(3);
    v.snapshot.vm = v.vm;
    v.snapshot.name = "nightly";
    v.snapshot.origin = id<ClusterId>(2);
    v.snapshot.disks = {{"vda", id<VolumeId>(4), "vms", ByteSize(1 << 30)},
                        {"vdb", id<VolumeId>(5), "vms", ByteSize(4096)}};
    v.definition = {.domain_xml = "<domain/>", .nvram = std::string(540 << 10, '\xFF')};
    v.base = id<SnapshotId>(6);
    return v;
}

void expect_refused(const model::TransferRequest& request, std::string_view field) {
    const auto body = encode_offer_request(request);
    ASSERT_TRUE(body.has_value());
    const auto decoded = decode_offer_request(*body);
    ASSERT_FALSE(decoded.has_value()) << field;
    EXPECT_EQ(decoded.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(decoded.error().text(), HasSubstr(std::string(field)));
}

TEST(Messages, an_offer_comes_back_as_it_went_and_stays_small) {
    const auto sent = a_request();
    const auto body = encode_offer_request(sent);
    ASSERT_TRUE(body.has_value());
    EXPECT_LT(body->size(), 4096U);  // 540 KiB of UEFI variables included
    const auto got = decode_offer_request(*body);
    ASSERT_TRUE(got.has_value()) << got.error().text();
    EXPECT_EQ(got->vm, sent.vm);
    EXPECT_EQ(got->vm_name, sent.vm_name);
    EXPECT_EQ(got->ownership, sent.ownership);
    EXPECT_EQ(got->snapshot, sent.snapshot);
    EXPECT_EQ(got->definition, sent.definition);
    EXPECT_EQ(got->base, sent.base);
}

TEST(Messages, an_offer_is_refused_by_the_field_that_is_wrong) {
    const auto with = [](auto change) {
        auto request = a_request();
        change(request);
        return request;
    };
    expect_refused(with([](auto& r) { r.vm = {}; }), "vm: nil");
    expect_refused(with([](auto& r) { r.vm_name.clear(); }), "vm_name: missing");
    expect_refused(with([](auto& r) { r.vm_name = std::string(256, 'x'); }), "vm_name: 256 bytes");
    expect_refused(with([](auto& r) { r.vm_name = "a\nb"; }), "vm_name: contains a control");
    expect_refused(with([](auto& r) { r.ownership.owner = {}; }), "ownership.owner");
    expect_refused(with([](auto& r) { r.snapshot.id = {}; }), "snapshot.id");
    expect_refused(with([](auto& r) { r.snapshot.vm = id<VmId>(99); }), "snapshot.vm");
    expect_refused(with([](auto& r) { r.base = r.snapshot.id; }), "base");
    expect_refused(with([](auto& r) { r.snapshot.disks[1].target = "vda"; }), "target: the same");
    expect_refused(with([](auto& r) { r.snapshot.disks[1].volume = id<VolumeId>(4); }), "volume");
    expect_refused(with([](auto& r) { r.snapshot.disks[0].size = ByteSize(0); }), "size: 0 bytes");
    expect_refused(with([](auto& r) { r.snapshot.disks[0].size = ByteSize(kMaxDisk.count() + 1); }),
                   "size");
    expect_refused(with([](auto& r) {
                       for (std::uint64_t i = 0; i < 300; ++i)
                           r.snapshot.disks.push_back(
                               {"v" + std::to_string(i), id<VolumeId>(100 + i), "p", ByteSize(1)});
                   }),
                   "snapshot.disks: 302");
}

TEST(Messages, a_body_that_is_no_offer_is_refused) {
    for (const std::string body :
         {"", "{", "[]", "null", "{}", R"({"vm":5})", R"({"vm":"x"})", "\xff\xfe"}) {
        const auto decoded = decode_offer_request(body);
        ASSERT_FALSE(decoded.has_value()) << body;
        EXPECT_EQ(decoded.error().kind(), ErrorKind::invalid);
    }
    const auto sound = encode_offer_request(a_request()).value();
    auto body = sound;
    body.replace(body.find("\"snapshot\""), 10, "\"snapshut\"");
    EXPECT_THAT(decode_offer_request(body).error().text(), HasSubstr("snapshot: missing"));
    body = sound;
    body.replace(body.find("\"nvram_zstd\":\"") + 14, 4, "!!!!");
    EXPECT_THAT(decode_offer_request(body).error().text(), HasSubstr("nvram_zstd"));
}

TEST(Messages, damaged_offers_never_do_harm) {
    const auto sound = encode_offer_request(a_request()).value();
    std::mt19937 random(7);
    for (int round = 0; round < 3000; ++round) {
        auto body = sound;
        for (int i = 0; i < 3; ++i) body[random() % body.size()] = static_cast<char>(random());
        if (random() % 4 == 0) body.resize(random() % body.size());
        if (const auto decoded = decode_offer_request(body))
            EXPECT_LE(decoded->snapshot.disks.size(), kMaxDisks);
        else
            EXPECT_EQ(decoded.error().kind(), ErrorKind::invalid);
    }
}

TEST(Messages, deep_and_crowded_json_is_refused_early) {
    EXPECT_THAT(decode_capabilities(R"({"x":)" + std::string(500'000, '[')).error().text(),
                HasSubstr("nested too deeply"));
    std::string crowd = R"({"x":[0)";
    for (int i = 0; i < 300'000; ++i) crowd += ",1";
    EXPECT_THAT(decode_capabilities(crowd + "]}").error().text(), HasSubstr("too many values"));
}

TEST(Messages, a_small_body_cannot_claim_much_memory) {
    const auto bomb = pack(std::string(kMaxNvram, '\0'), kMaxNvram, "bomb").value();
    EXPECT_LT(bomb.size(), 20'000U);
    const auto xml = unpack(bomb, kMaxDomainXml, "domain_xml");
    ASSERT_FALSE(xml.has_value());
    EXPECT_THAT(xml.error().text(), HasSubstr("domain_xml: 67108864 bytes; at most 4194304"));
    EXPECT_FALSE(pack(std::string(kMaxDomainXml + 1, 'x'), kMaxDomainXml, "xml").has_value());
}

TEST(Messages, pairing_round_trips_and_checks_its_fields) {
    const PairRequest sent{.secret = "s3cret",
                           .cluster = {.id = id<ClusterId>(8), .name = "prod"},
                           .address = "10.0.0.1:7373",
                           .certificate_pem = "-----BEGIN CERTIFICATE-----\n"};
    EXPECT_EQ(decode_pair_request(encode_pair_request(sent)).value(), sent);
    auto wrong = sent;
    wrong.cluster.id = {};
    EXPECT_THAT(decode_pair_request(encode_pair_request(wrong)).error().text(),
                HasSubstr("cluster.id"));
    wrong = sent;
    wrong.secret = std::string(300, 'x');
    const auto refused = decode_pair_request(encode_pair_request(wrong));
    EXPECT_THAT(refused.error().text(), HasSubstr("secret: 300 bytes"));
    EXPECT_EQ(refused.error().text().find("xxx"), std::string::npos);  // a secret is not repeated
    PairReply reply;
    reply.cluster = sent.cluster;
    reply.capabilities.features = our_features();
    EXPECT_EQ(decode_pair_reply(encode_pair_reply(reply)).value(), reply);
}

TEST(Messages, ownership_and_look_up_round_trip) {
    const std::vector<ports::OwnershipNote> notes{
        {id<VmId>(1), {.epoch = 2, .owner = id<ClusterId>(3), .phase = model::Phase::replica}}};
    auto named = notes;
    named[0].holders = {id<ClusterId>(4), id<ClusterId>(5)};
    EXPECT_EQ(decode_ownership(encode_ownership(named)).value()[0].holders, named[0].holders);
    named[0].holders.assign(kMaxHolders + 1, id<ClusterId>(4));
    EXPECT_THAT(decode_ownership(encode_ownership(named)).error().text(),
                HasSubstr("holders: too many"));
    named[0].holders = {ClusterId()};
    EXPECT_FALSE(decode_ownership(encode_ownership(named)));
    const auto got = decode_ownership(encode_ownership(notes));
    ASSERT_TRUE(got.has_value()) << got.error().text();
    ASSERT_EQ(got->size(), 1U);
    EXPECT_EQ(got->front().vm, notes[0].vm);
    EXPECT_EQ(got->front().ownership, notes[0].ownership);
    const ports::PeerVm vm{.known = true,
                           .ownership = notes[0].ownership,
                           .snapshots = {id<SnapshotId>(1), id<SnapshotId>(2)}};
    const auto held = decode_peer_vm(encode_peer_vm(vm));
    ASSERT_TRUE(held.has_value()) << held.error().text();
    EXPECT_EQ(held->ownership, vm.ownership);
    EXPECT_EQ(held->snapshots, vm.snapshots);
    EXPECT_FALSE(decode_peer_vm(encode_peer_vm({}))->known);
}

TEST(Messages, offer_reply_and_commit_round_trip) {
    const model::TransferOffer offer{.id = id<TransferId>(1),
                                     .durable = {.disk = 1, .offset = ByteOffset(4096)},
                                     .complete = false,
                                     .readiness = {{model::Severity::blocks, "tpm", "why"}}};
    const auto got = decode_offer_reply(encode_offer_reply(offer));
    ASSERT_TRUE(got.has_value()) << got.error().text();
    EXPECT_EQ(got->id, offer.id);
    EXPECT_EQ(got->durable, offer.durable);
    EXPECT_EQ(got->readiness, offer.readiness);
    const CommitRequest commit{
        .attempt = 5, .totals = {.chunks = 1, .bytes = 2, .digest_high = ~0ULL, .digest_low = 4}};
    EXPECT_EQ(decode_commit_request(encode_commit_request(commit)).value(), commit);
    EXPECT_THAT(decode_commit_request(R"({"attempt":1,"totals":{"chunks":1}})").error().text(),
                HasSubstr("bytes: missing"));
    EXPECT_EQ(decode_commit_reply(encode_commit_reply(offer.readiness)).value(), offer.readiness);
}

// What a source hears whose answer to the commit was lost.
TEST(Messages, an_offer_of_what_is_complete_is_answered_without_a_transfer) {
    model::TransferOffer offer;
    offer.complete = true;
    const auto got = decode_offer_reply(encode_offer_reply(offer));
    ASSERT_TRUE(got.has_value()) << got.error().text();
    EXPECT_TRUE(got->complete);
    EXPECT_TRUE(got->id.is_nil());
    offer.complete = false;
    EXPECT_THAT(decode_offer_reply(encode_offer_reply(offer)).error().text(),
                HasSubstr("id: missing"));
}

TEST(Messages, an_error_reply_keeps_what_the_operator_needs) {
    const auto error = decode_error_reply(encode_error_reply(Error(ErrorKind::no_space, "full")
                                                                 .during("offer")
                                                                 .keeping("1 GiB")
                                                                 .advising("Make room.")),
                                          507);
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
    EXPECT_EQ(error.text(), "offer: full. Kept: 1 GiB. Make room.");
    const auto strange = decode_error_reply("<html>502</html>", 502);
    EXPECT_EQ(strange.kind(), ErrorKind::unavailable);
    EXPECT_THAT(strange.text(), HasSubstr("HTTP 502"));
}

model::DigestQuestion a_question() {
    return {id<VmId>(1),
            id<SnapshotId>(3),
            id<VolumeId>(4),
            base::KiB(64),
            {{ByteOffset(65536), base::KiB(128)}, {ByteOffset(1 << 30), base::KiB(64)}}};
}

TEST(Messages, a_question_for_digests_is_refused_by_what_is_wrong) {
    EXPECT_EQ(decode_digest_question(encode_digest_question(a_question())).value(), a_question());
    const auto refused = [](auto change) {
        auto question = a_question();
        change(question);
        const auto decoded = decode_digest_question(encode_digest_question(question));
        return decoded ? std::string("taken") : decoded.error().text();
    };
    EXPECT_THAT(refused([](auto& q) { q.vm = {}; }), HasSubstr("vm: nil"));
    for (const auto size : {0U, 512U, 4097U, 98304U, 8U << 20})
        EXPECT_THAT(refused([&](auto& q) { q.block = ByteSize(size); }), HasSubstr("block"));
    EXPECT_THAT(refused([](auto& q) { q.ranges.clear(); }), HasSubstr("ranges: 0"));
    EXPECT_THAT(refused([](auto& q) { q.ranges.resize(1025, q.ranges[0]); }),
                HasSubstr("ranges: 1025"));
    EXPECT_THAT(refused([](auto& q) { q.ranges[0].offset = ByteOffset(4096); }),
                HasSubstr("ranges: 4096+"));
    EXPECT_THAT(refused([](auto& q) { q.ranges[0].length = ByteSize(0); }), HasSubstr("+0"));
    EXPECT_THAT(refused([](auto& q) { q.ranges[1].offset = ByteOffset(131072); }),
                HasSubstr("ranges: 131072+"));
    EXPECT_THAT(refused([](auto& q) { q.ranges[1].length = ByteSize(1ULL << 60); }),
                HasSubstr("ranges: "));
}

TEST(Messages, digests_cost_a_few_bytes_per_mib_and_zeroes_next_to_nothing) {
    std::mt19937_64 random(1);
    model::DigestAnswer answer;
    answer.blocks.resize(512);  // of 4 MiB each: 2 GiB
    EXPECT_LT(encode_digest_answer(answer)->size(), 100U);
    for (auto& block : answer.blocks) {
        block.kind = model::BlockDigest::Kind::data;
        for (auto& byte : block.digest) byte = static_cast<std::byte>(random());
    }
    const auto body = encode_digest_answer(answer).value();
    EXPECT_LT(body.size(), 24U << 10);
    EXPECT_EQ(decode_digest_answer(body)->blocks, answer.blocks);
}

TEST(Messages, digests_that_are_cut_off_damaged_or_too_many_are_refused) {
    const auto decode = [](const std::string& bytes) {
        const auto packed = pack(bytes, 1 << 20, "digests").value();
        return decode_digest_answer("{\"digests_zstd\": \"" + packed + "\", \"failure\": \"\"}");
    };
    EXPECT_TRUE(decode(std::string(8192, '\0')));
    EXPECT_FALSE(decode(std::string(8193, '\0')));
    EXPECT_FALSE(decode("\3"));
    EXPECT_FALSE(decode("\1 too short"));
    EXPECT_FALSE(decode_digest_answer("{\"digests_zstd\": \"!\", \"failure\": \"\"}"));
}

TEST(Messages, a_range_is_bounded_in_question_and_answer) {
    const auto decoded = [](std::uint64_t offset, std::uint64_t length) {
        return decode_range_question(
                   encode_range_question({id<VmId>(1), id<SnapshotId>(3), id<VolumeId>(4),
                                          ByteOffset(offset), ByteSize(length)}))
            .has_value();
    };
    EXPECT_TRUE(decoded(512, 1 << 20));
    EXPECT_FALSE(decoded(0, 0));
    EXPECT_FALSE(decoded(0, (1 << 20) + 1));
    EXPECT_FALSE(decoded(1ULL << 60, 4096));
    EXPECT_FALSE(encode_range_reply({std::string((1 << 20) + 1, 'x'), {}}));
}

TEST(Messages, a_resync_names_disks_of_its_own_snapshot_and_has_no_base) {
    auto request = a_request();
    request.resync = {{id<VolumeId>(4), id<SnapshotId>(8)}};
    expect_refused(request, "resync: with a base");
    request.base.reset();
    EXPECT_EQ(decode_offer_request(encode_offer_request(request).value())->resync, request.resync);
    request.resync = {{id<VolumeId>(4), request.snapshot.id}};
    expect_refused(request, "resync.snapshot");
    request.resync = {{id<VolumeId>(4), id<SnapshotId>(8)}, {id<VolumeId>(4), id<SnapshotId>(9)}};
    expect_refused(request, "resync.volume: the same twice");
    request.resync.resize(3);
    expect_refused(request, "resync: more than disks");
}

TEST(Paths, what_is_built_is_understood) {
    const auto vm = id<VmId>(1);
    const auto transfer = id<TransferId>(2);
    EXPECT_EQ(parse_route("GET", look_up_path(vm)).value(),
              (Route{.call = Call::look_up, .vm = vm}));
    EXPECT_EQ(parse_route("GET", vm_state_path(vm)).value(),
              (Route{.call = Call::vm_state, .vm = vm}));
    EXPECT_EQ(parse_route("POST", handover_path(vm)).value(),
              (Route{.call = Call::handover, .vm = vm}));
    EXPECT_EQ(parse_route("POST", take_back_path(vm)).value(),
              (Route{.call = Call::take_back, .vm = vm}));
    EXPECT_EQ(parse_route("GET", channel_path(transfer, 17)).value(),
              (Route{.call = Call::channel, .transfer = transfer, .attempt = 17}));
    EXPECT_EQ(parse_route("POST", commit_path(transfer)).value(),
              (Route{.call = Call::commit, .transfer = transfer}));
    EXPECT_EQ(parse_route("DELETE", transfer_path(transfer)).value(),
              (Route{.call = Call::abandon, .transfer = transfer}));
    EXPECT_EQ(parse_route("POST", kTransfersPath)->call, Call::offer);
    EXPECT_EQ(parse_route("POST", kPairPath)->call, Call::pair);
    EXPECT_EQ(parse_route("POST", kDigestsPath)->call, Call::digests);
    EXPECT_EQ(parse_route("POST", kRangePath)->call, Call::range);
    EXPECT_EQ(parse_route("POST", kContentsPath)->call, Call::contents);
}

TEST(Paths, anything_else_is_not_found) {
    const auto transfer = transfer_path(id<TransferId>(2));
    for (const auto& [method, target] :
         {std::pair<std::string, std::string>{"GET", "/"},
          {"GET", "/peer/v1/pair"},
          {"GET", transfer},
          {"POST", transfer + "/commit/"},
          {"GET", transfer + "/channel?attempt="},
          {"GET", transfer + "/channel?attempt=-1"},
          {"GET", transfer + "/channel?attempt=99999999999999999999999"},
          {"DELETE", "/peer/v1/transfers/../vms"},
          {"GET", "/peer/v1/vms/zzzzzzzz-0000-0000-0000-000000000000"},
          {"DELETE", look_up_path(id<VmId>(1))}}) {
        const auto route = parse_route(method, target);
        ASSERT_FALSE(route.has_value()) << method << ' ' << target;
        EXPECT_EQ(route.error().kind(), ErrorKind::not_found);
    }
}

TEST(Features, only_what_the_peer_named_is_used) {
    model::Capabilities peer;
    peer.features = {"chunks-1", "codec-zstd", "future"};
    EXPECT_THAT(usable_codecs(peer), testing::ElementsAre(model::Codec::none, model::Codec::zstd));
    const auto check = check_can_receive(peer);
    ASSERT_FALSE(check.has_value());
    EXPECT_EQ(check.error().kind(), ErrorKind::unsupported);
    EXPECT_THAT(check.error().text(), HasSubstr("definition-zstd"));
    EXPECT_THAT(check_can_compare(peer).error().text(), HasSubstr("digests-1"));
    peer.features = our_features();
    EXPECT_TRUE(check_can_receive(peer).has_value());
    EXPECT_TRUE(check_can_compare(peer).has_value());
}

}  // namespace
}  // namespace understudy::protocol
