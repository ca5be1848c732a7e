#include "mover/codec.hpp"

#include "mover/codec_chooser.hpp"
#include "mover/digest.hpp"
#include "mover/fake_disks.hpp"
#include "mover/throttle.hpp"

#include <gmock/gmock.h>

namespace understudy::mover {
namespace {

using model::Codec;

constexpr std::uint64_t kGigabit = 125'000'000;

fake::Bytes wordy(std::size_t size) {
    fake::Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i / 7 % 50);
    return bytes;
}

TEST(Workspace, content_survives_each_codec) {
    Workspace packing;
    Workspace unpacking;
    for (const auto codec : {Codec::lz4, Codec::zstd}) {
        for (const std::size_t size :
             {std::size_t{4096}, std::size_t{5000}, std::size_t{1 << 20}}) {
            const auto content = wordy(size);
            const auto packed = packing.compress(codec, content);
            ASSERT_TRUE(packed.has_value());
            EXPECT_LE(packed->size(), size - size / 20);
            const auto back = unpacking.decompress(codec, *packed, ByteSize(size));
            ASSERT_TRUE(back.has_value()) << back.error().text();
            EXPECT_TRUE(std::ranges::equal(*back, content));
        }
    }
}

TEST(Workspace, what_does_not_shrink_travels_as_it_is) {
    std::mt19937_64 random(1);
    const auto noise = fake::random_bytes(1 << 20, random);
    Workspace workspace;
    EXPECT_FALSE(workspace.compress(Codec::lz4, noise).has_value());
    EXPECT_FALSE(workspace.compress(Codec::zstd, noise).has_value());
    EXPECT_FALSE(workspace.compress(Codec::none, wordy(4096)).has_value());
}

TEST(Workspace, damaged_payloads_are_refused_within_bounds) {
    std::mt19937_64 random(2);
    Workspace workspace;
    Workspace unpacking;
    const auto content = wordy(65536);
    for (const auto codec : {Codec::lz4, Codec::zstd}) {
        const auto packed = workspace.compress(codec, content).value();
        for (int round = 0; round < 2000; ++round) {
            fake::Bytes damaged(packed.begin(), packed.end());
            damaged[random() % damaged.size()] ^= static_cast<std::byte>(1 + random() % 255);
            if (round % 3 == 0) damaged.resize(random() % damaged.size());
            const auto back = unpacking.decompress(codec, damaged, ByteSize(content.size()));
            if (!back) {
                EXPECT_EQ(back.error().kind(), ErrorKind::corrupt);
            }
        }
        EXPECT_FALSE(unpacking.decompress(codec, packed, ByteSize(65535)).has_value());
        EXPECT_FALSE(unpacking.decompress(codec, packed, ByteSize(65537)).has_value());
        EXPECT_FALSE(unpacking.decompress(codec, packed, ByteSize(1ULL << 40)).has_value());
    }
}

struct Measured {
    std::uint64_t rate;
    bool app_limited;
    bool receiver_limited;
};

Codec after(std::initializer_list<Measured> samples, std::uint64_t limit = 0) {
    CodecChooser chooser({Codec::none, Codec::lz4, Codec::zstd});
    chooser.set_rate_limit(limit);
    for (const auto& sample : samples)
        chooser.observe({.delivery_rate_bytes = sample.rate,
                         .app_limited = sample.app_limited,
                         .receiver_limited = sample.receiver_limited});
    return chooser.choose();
}

TEST(CodecChooser, follows_the_measured_link) {
    const auto link = [](double gigabits) {
        return Measured{static_cast<std::uint64_t>(gigabits * kGigabit), false, false};
    };
    EXPECT_EQ(after({}), Codec::none);
    EXPECT_EQ(after({link(1)}), Codec::none);  // one measurement is not enough
    EXPECT_EQ(after({link(1), link(1)}), Codec::zstd);
    EXPECT_EQ(after({link(1.9), link(1.9)}), Codec::zstd);
    EXPECT_EQ(after({link(3), link(3)}), Codec::lz4);
    EXPECT_EQ(after({link(10), link(10)}), Codec::none);
    EXPECT_EQ(after({link(1), link(3), link(1), link(3)}), Codec::none);
    EXPECT_EQ(after({link(1), link(1), link(2.2), link(2.2)}),
              Codec::zstd);  // does not change to and fro
    EXPECT_EQ(after({link(1), link(1), link(2.6), link(2.6)}), Codec::lz4);
    EXPECT_EQ(after({link(1), link(1), link(20), link(20)}), Codec::none);
}

TEST(CodecChooser, does_not_compress_because_we_or_the_target_are_slow) {
    const Measured slow_source{kGigabit, true, false};
    const Measured slow_target{kGigabit, false, true};
    const Measured unknown{0, true, false};
    const Measured slow_link{kGigabit, false, false};
    const Measured fast_though_idle{10 * kGigabit, true, false};
    EXPECT_EQ(after({slow_source, slow_source}), Codec::none);
    EXPECT_EQ(after({slow_target, slow_target}), Codec::none);
    EXPECT_EQ(after({unknown, unknown}), Codec::none);
    EXPECT_EQ(after({slow_link, slow_link, slow_source, slow_source}), Codec::zstd);
    EXPECT_EQ(after({slow_link, slow_link, fast_though_idle, fast_though_idle}), Codec::none);
}

TEST(CodecChooser, a_rate_limit_is_a_slow_link) {
    EXPECT_EQ(after({}, kGigabit), Codec::zstd);
    EXPECT_EQ(after({}, 4 * kGigabit), Codec::lz4);
    EXPECT_EQ(after({}, 40 * kGigabit), Codec::none);
    CodecChooser chooser({Codec::none, Codec::zstd});
    chooser.set_rate_limit(kGigabit);
    EXPECT_EQ(chooser.choose(), Codec::zstd);
    chooser.set_rate_limit(0);
    EXPECT_EQ(chooser.choose(), Codec::none);
}

TEST(CodecChooser, begins_with_what_an_earlier_send_learnt_and_learns_only_from_the_link) {
    const std::vector usable{Codec::none, Codec::lz4, Codec::zstd};
    CodecChooser chooser(usable, Codec::zstd);
    EXPECT_EQ(chooser.choose(), Codec::zstd);
    const auto twice = [&](const ports::LinkStats& stats) {
        chooser.observe(stats);
        chooser.observe(stats);
    };
    twice({.delivery_rate_bytes = kGigabit, .app_limited = true, .receiver_limited = false});
    EXPECT_EQ(chooser.learnt(), std::nullopt);
    twice({.delivery_rate_bytes = 10 * kGigabit, .app_limited = true, .receiver_limited = false});
    EXPECT_EQ(chooser.choose(), Codec::none);
    EXPECT_EQ(chooser.learnt(), std::nullopt);
    twice({.delivery_rate_bytes = 3 * kGigabit, .app_limited = false, .receiver_limited = false});
    EXPECT_EQ(chooser.learnt(), Codec::lz4);
}

TEST(CodecChooser, uses_nothing_that_the_target_does_not_know) {
    CodecChooser only_lz4({Codec::none, Codec::lz4});
    only_lz4.set_rate_limit(kGigabit);
    EXPECT_EQ(only_lz4.choose(), Codec::lz4);
    CodecChooser nothing({});
    nothing.set_rate_limit(kGigabit);
    EXPECT_EQ(nothing.choose(), Codec::none);
}

TEST(CodecChooser, backs_off_from_incompressible_data_and_comes_back) {
    CodecChooser chooser({Codec::none, Codec::zstd});
    chooser.set_rate_limit(kGigabit);
    const auto tries_in = [&](int chunks, bool shrank) {
        int tries = 0;
        for (int i = 0; i < chunks; ++i)
            if (chooser.choose() != Codec::none) {
                ++tries;
                chooser.record(shrank);
            }
        return tries;
    };
    EXPECT_EQ(tries_in(4, false), 4);
    EXPECT_LE(tries_in(1000, false), 1000 / 64 + 4);
    EXPECT_GE(tries_in(64, true), 1);
    EXPECT_EQ(tries_in(100, true), 100);
}

TEST(Digest, is_the_published_xxh3_and_order_does_not_matter) {
    // XXH3-128 of no bytes at all, as the reference implementation has it.
    const auto empty = digest_of({});
    EXPECT_EQ(empty[0], std::byte{0x99});
    EXPECT_EQ(empty[15], std::byte{0x7f});
    model::Chunk a{.disk = 1, .offset = ByteOffset(4096), .length = ByteSize(4096), .payload = {}};
    model::Chunk b = a;
    b.offset = ByteOffset(8192);
    model::Totals forward;
    add_chunk(forward, a);
    add_chunk(forward, b);
    model::Totals backward;
    b.sequence = 77;
    add_chunk(backward, b);
    add_chunk(backward, a);
    EXPECT_EQ(forward, backward);
    a.kind = model::ExtentKind::zero;
    model::Totals other;
    add_chunk(other, a);
    add_chunk(other, b);
    EXPECT_NE(forward, other);
}

TEST(Digest, zero_check_sees_a_single_bit_anywhere) {
    fake::Bytes bytes(8192);
    EXPECT_TRUE(all_zero(bytes));
    EXPECT_TRUE(all_zero({}));
    for (const std::size_t at : {0, 1, 31, 4095, 8191}) {
        bytes[at] = std::byte{1};
        EXPECT_FALSE(all_zero(bytes)) << at;
        bytes[at] = std::byte{0};
    }
}

TEST(Throttle, keeps_the_rate_over_time) {
    Throttle throttle;
    Duration now{1000};
    throttle.set_rate(1'000'000, now);
    std::uint64_t sent = 0;
    while (now < Duration(11'000)) {
        const auto wait = throttle.wait(now);
        now += wait;
        if (wait > Duration::zero()) continue;
        throttle.spend(300'000);
        sent += 300'000;
    }
    EXPECT_NEAR(static_cast<double>(sent), 10'000'000, 500'000);
}

TEST(Throttle, a_new_rate_counts_at_once_and_zero_is_none) {
    Throttle throttle;
    throttle.set_rate(1000, Duration(0));
    EXPECT_EQ(throttle.wait(Duration(0)), Duration::zero());
    throttle.spend(100'000);
    EXPECT_EQ(throttle.wait(Duration(0)), Duration(100'000));
    throttle.set_rate(1'000'000, Duration(0));
    EXPECT_EQ(throttle.wait(Duration(0)), Duration(100));
    throttle.set_rate(0, Duration(0));
    EXPECT_EQ(throttle.wait(Duration(0)), Duration::zero());
}

TEST(Throttle, an_idle_link_saves_up_only_a_short_burst) {
    Throttle throttle;
    throttle.set_rate(1'000'000, Duration(0));
    ASSERT_EQ(throttle.wait(Duration(3'600'000)), Duration::zero());
    throttle.spend(100'000);
    EXPECT_EQ(throttle.wait(Duration(3'600'000)), Duration::zero());
    throttle.spend(100'000);
    EXPECT_EQ(throttle.wait(Duration(3'600'000)), Duration(100));
}

}  // namespace
}  // namespace understudy::mover
