#include "protocol/frames.hpp"

#include <gmock/gmock.h>

#include <random>

namespace understudy::protocol {
namespace {

using model::Chunk;
using model::Codec;
using model::ExtentKind;
using testing::HasSubstr;

std::vector<std::byte> bytes_of(std::size_t size, std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
}

Chunk data_chunk(std::span<const std::byte> payload, std::uint64_t length, Codec codec) {
    Chunk chunk{.sequence = 7,
                .disk = 3,
                .offset = ByteOffset(1 << 20),
                .length = ByteSize(length),
                .kind = ExtentKind::data,
                .codec = codec,
                .payload = payload};
    chunk.digest.fill(std::byte{0xAB});
    return chunk;
}

Chunk zero_chunk(std::uint64_t length) {
    return {.sequence = 9,
            .disk = 0,
            .offset = ByteOffset(8192),
            .length = ByteSize(length),
            .kind = ExtentKind::zero,
            .payload = {}};
}

void expect_refused(const Chunk& chunk, std::string_view why) {
    const auto header = decode_header(encode_chunk_header(chunk));
    ASSERT_FALSE(header.has_value()) << why;
    EXPECT_EQ(header.error().kind(), ErrorKind::invalid);
    EXPECT_THAT(header.error().text(), HasSubstr(std::string(why)));
}

TEST(Frames, a_chunk_comes_back_as_it_went) {
    const auto payload = bytes_of(5000);
    const auto sent = data_chunk(payload, 8192, Codec::zstd);
    const auto header = decode_header(encode_chunk_header(sent));
    ASSERT_TRUE(header.has_value()) << header.error().text();
    EXPECT_EQ(header->type, FrameType::chunk);
    EXPECT_EQ(header->payload_length, 5000U);
    const auto got = chunk_of(*header, payload);
    EXPECT_EQ(got.sequence, sent.sequence);
    EXPECT_EQ(got.disk, sent.disk);
    EXPECT_EQ(got.offset, sent.offset);
    EXPECT_EQ(got.length, sent.length);
    EXPECT_EQ(got.codec, sent.codec);
    EXPECT_EQ(got.digest, sent.digest);
}

TEST(Frames, a_zero_range_may_be_huge_and_has_no_payload) {
    EXPECT_TRUE(decode_header(encode_chunk_header(zero_chunk(kMaxZeroRange.count()))).has_value());
    expect_refused(zero_chunk(kMaxZeroRange.count() + 4096), "zero range of");
    auto chunk = zero_chunk(4096);
    const auto payload = bytes_of(1);
    chunk.payload = payload;
    expect_refused(chunk, "zero range with a payload");
}

TEST(Frames, every_length_has_its_limit) {
    const auto payload = bytes_of((1 << 20) + 1);
    expect_refused(data_chunk(payload, payload.size(), Codec::none), "a chunk of 1048577 bytes");
    expect_refused(data_chunk(payload, 4096, Codec::lz4), "payload of");
    expect_refused(data_chunk({}, 4096, Codec::lz4), "payload of 0 bytes");
    expect_refused(data_chunk(std::span(payload).first(100), 4096, Codec::none), "payload of 100");
    expect_refused(data_chunk({}, 0, Codec::none), "an empty chunk");
    auto far = zero_chunk(4096);
    far.offset = ByteOffset(~std::uint64_t{0} - 100);
    expect_refused(far, "beyond any disk");
    far.offset = ByteOffset(kMaxDisk.count());
    expect_refused(far, "beyond any disk");
    auto many = zero_chunk(4096);
    many.disk = kMaxDisks;
    expect_refused(many, "disk 256");
    auto late = zero_chunk(4096);
    late.sequence = ~std::uint64_t{0};
    expect_refused(late, "sequence");
}

TEST(Frames, any_flipped_bit_of_a_header_is_noticed) {
    const auto payload = bytes_of(4096);
    const auto sound = encode_chunk_header(data_chunk(payload, 4096, Codec::none));
    for (std::size_t bit = 0; bit < kHeaderSize * 8; ++bit) {
        auto damaged = sound;
        damaged[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        EXPECT_FALSE(decode_header(damaged).has_value()) << "bit " << bit;
    }
}

TEST(Frames, random_bytes_are_never_a_header) {
    for (std::uint32_t seed = 0; seed < 20'000; ++seed) {
        auto bytes = bytes_of(kHeaderSize, seed);
        if (seed % 2 == 0) std::memcpy(bytes.data(), "USF1", 4);
        EXPECT_FALSE(decode_header(bytes).has_value()) << "seed " << seed;
    }
    for (std::size_t size = 0; size < kHeaderSize; ++size)
        EXPECT_FALSE(decode_header(bytes_of(size)).has_value());
    EXPECT_FALSE(decode_header(bytes_of(kHeaderSize + 1)).has_value());
}

TEST(Frames, an_acknowledgement_comes_back_as_it_went) {
    const model::Ack sent{.totals = {.chunks = 4, .bytes = 5, .digest_high = 6, .digest_low = 7},
                          .durable = {.disk = 1, .offset = ByteOffset(4096)}};
    auto bytes = encode_ack(sent);
    const auto header = decode_header(std::span(bytes).first(kHeaderSize));
    ASSERT_TRUE(header.has_value());
    const auto payload = std::span(bytes).subspan(kHeaderSize);
    const auto got = decode_ack(*header, payload);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->totals, sent.totals);
    EXPECT_EQ(got->durable, sent.durable);
    payload[20] ^= std::byte{4};
    const auto damaged = decode_ack(*header, payload);
    ASSERT_FALSE(damaged.has_value());
    EXPECT_EQ(damaged.error().kind(), ErrorKind::corrupt);
}

TEST(Frames, a_flush_request_says_how_many_chunks_it_means) {
    const auto header = decode_header(encode_flush_request(123));
    ASSERT_TRUE(header.has_value());
    EXPECT_EQ(header->type, FrameType::flush_request);
    EXPECT_EQ(header->sequence, 123U);
    EXPECT_EQ(decode_header(encode_goodbye())->type, FrameType::goodbye);
}

TEST(Frames, an_error_keeps_its_kind_texts_and_advice) {
    const auto bytes = encode_error(Error(ErrorKind::no_space, "no space left")
                                        .during("write vda")
                                        .keeping("41 GiB received")
                                        .advising("Make room."));
    const auto header = decode_header(std::span(bytes).first(kHeaderSize));
    ASSERT_TRUE(header.has_value());
    const auto error = decode_error(*header, std::span(bytes).subspan(kHeaderSize));
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
    EXPECT_EQ(error.what(), "write vda: no space left");
    EXPECT_EQ(error.kept(), "41 GiB received");
    EXPECT_EQ(error.advice(), "Make room.");
}

TEST(Frames, a_long_error_is_cut_between_characters_and_cannot_drive_a_terminal) {
    std::string text = "\x1b[2J";
    while (text.size() < 20'000) text += "ü";
    const auto bytes = encode_error(Error(ErrorKind::internal, text).keeping(text).advising(text));
    const auto header = decode_header(std::span(bytes).first(kHeaderSize));
    ASSERT_TRUE(header.has_value()) << header.error().text();
    const auto error = decode_error(*header, std::span(bytes).subspan(kHeaderSize));
    EXPECT_LE(error.what().size(), kMaxErrorText);
    EXPECT_GT(error.what().size(), kMaxErrorText - 8);
    EXPECT_TRUE(error.what().ends_with("ü"));
    EXPECT_EQ(error.what().find('\x1b'), std::string::npos);
}

TEST(Frames, a_truncated_error_report_is_an_error_too) {
    const auto bytes = encode_error(Error(ErrorKind::no_space, "full"));
    const auto header = decode_header(std::span(bytes).first(kHeaderSize));
    const auto error =
        decode_error(*header, std::span(bytes).subspan(kHeaderSize, header->payload_length - 1));
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace understudy::protocol
