#include "mover/fake_transfer.hpp"

#include <gmock/gmock.h>

namespace understudy::mover {
namespace {

using testing::HasSubstr;

using FateOf = std::function<FrameFate(std::uint64_t& bit)>;

// Drives lanes over memory channels in an order that the seed decides. Frames arrive late and
// overtake those of other channels. Ends when the attempt has succeeded or failed.
class Attempt {
public:
    Attempt(fake::Transfer& transfer, std::mt19937_64& random, std::uint64_t channels,
            const FateOf& fate, ReceiverOptions options = {})
        : random_(random),
          sender(transfer.sender()),
          receiver(transfer.receiver(std::move(options))) {
        for (std::uint64_t i = 0; i < channels; ++i) {
            MemoryChannel::Options wire{.fate = fate,
                                        .in_flight = static_cast<std::size_t>(random() % 20),
                                        .now = [this] { return now_ += Duration(random_() % 50); }};
            channels_.push_back(std::make_unique<MemoryChannel>(*receiver, std::move(wire)));
            lanes_.push_back(std::make_unique<Lane>(*sender, *channels_.back()));
        }
    }

    Result<model::Totals> run() {
        for (std::size_t steps = 0; steps < 1'000'000; ++steps) {
            const auto which = random_() % lanes_.size();
            if (random_() % 2 == 0) channels_[which]->deliver();
            auto did = UNDERSTUDY_VALUE(lanes_[which]->step());
            if (did == Lane::Did::finished) return finish();
        }
        return fail(ErrorKind::internal, "the attempt neither ended nor failed");
    }

private:
    Result<model::Totals> finish() {
        UNDERSTUDY_TRY(receiver->finish(sender->totals()));
        return sender->totals();
    }

    std::mt19937_64& random_;
    Duration now_{};

public:
    std::unique_ptr<Sender> sender;
    std::unique_ptr<Receiver> receiver;

private:
    std::vector<std::unique_ptr<MemoryChannel>> channels_;
    std::vector<std::unique_ptr<Lane>> lanes_;
};

ReceiverOptions frequent_checkpoints(std::mt19937_64& random) {
    ReceiverOptions options;
    options.checkpoint_bytes = ByteSize(1 + random() % (256 << 10));
    options.checkpoint_interval = Duration(1 + random() % 500);
    return options;
}

TEST(Transfer, target_equals_source_over_one_to_four_channels) {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        auto transfer = fake::random_transfer(random, 3 << 20);
        Attempt attempt(transfer, random, 1 + random() % 4, {});
        const auto totals = attempt.run();
        ASSERT_TRUE(totals.has_value()) << "seed " << seed << ": " << totals.error().text();
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed;
        std::mt19937_64 dark(seed);
        for (auto& disk : transfer.targets) disk->lose_power(dark);
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed << ", not durable";
    }
}

TEST(Transfer, resume_after_cuts_and_power_loss_loses_no_change) {
    std::size_t cuts = 0;
    std::size_t resumed_midway = 0;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        std::mt19937_64 random(seed);
        auto transfer = fake::random_transfer(random, 3 << 20);
        for (int round = 0;; ++round) {
            ASSERT_LT(round, 1000) << "seed " << seed << " never gets through";
            const auto start = transfer.durable;
            const auto odds = 4U << std::min(round, 12);  // ever fewer cuts
            const FateOf fate = [&](std::uint64_t&) {
                return random() % odds == 0 ? FrameFate::cuts_channel : FrameFate::arrives;
            };
            Attempt attempt(transfer, random, 1 + random() % 3, fate, frequent_checkpoints(random));
            const auto totals = attempt.run();
            ASSERT_FALSE(transfer.went_back) << "seed " << seed;
            if (totals) break;
            ASSERT_EQ(totals.error().kind(), ErrorKind::unavailable) << totals.error().text();
            ++cuts;
            if (start != model::DurablePoint{}) ++resumed_midway;
            for (auto& disk : transfer.targets) disk->lose_power(random);
        }
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed;
    }
    EXPECT_GT(cuts, 500U);
    EXPECT_GT(resumed_midway, 50U);
}

TEST(Transfer, repeated_frames_change_nothing) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        std::mt19937_64 random(seed);
        auto transfer = fake::random_transfer(random, 1 << 20);
        const FateOf fate = [&](std::uint64_t&) {
            return random() % 3 == 0 ? FrameFate::is_repeated : FrameFate::arrives;
        };
        Attempt attempt(transfer, random, 1 + random() % 4, fate);
        const auto totals = attempt.run();
        ASSERT_TRUE(totals.has_value()) << "seed " << seed << ": " << totals.error().text();
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed;
    }
}

TEST(Transfer, any_flipped_bit_is_noticed_before_it_is_written) {
    std::size_t damaged = 0;
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        std::mt19937_64 random(seed);
        auto transfer = fake::random_transfer(random, 256 << 10);
        const auto when = random() % 6;
        std::uint64_t frames = 0;
        bool hit = false;
        const FateOf fate = [&](std::uint64_t& bit) {
            if (frames++ != when) return FrameFate::arrives;
            hit = true;
            // Half of them in the header: the first 64 bytes.
            bit = random() % 2 == 0 ? random() % 512 : random();
            return FrameFate::is_damaged;
        };
        Attempt attempt(transfer, random, 1, fate);
        const auto totals = attempt.run();
        ASSERT_EQ(totals.has_value(), !hit) << "seed " << seed;
        if (hit) {
            ++damaged;
            ASSERT_TRUE(totals.error().kind() == ErrorKind::corrupt ||
                        totals.error().kind() == ErrorKind::invalid)
                << "seed " << seed << ": " << totals.error().text();
        }
        // Whatever was written is right: going on from the durable point gives the source.
        Attempt again(transfer, random, 2, {});
        ASSERT_TRUE(again.run().has_value()) << "seed " << seed;
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed;
    }
    EXPECT_GT(damaged, 300U);
}

TEST(Transfer, nothing_changed_sends_nothing) {
    std::mt19937_64 random(1);
    fake::Story story{.base = fake::random_bytes(8192, random), .now = {}, .changes = {}};
    story.now = story.base;
    fake::Transfer transfer({story}, true);
    Attempt attempt(transfer, random, 1, {});
    EXPECT_EQ(attempt.run().value(), model::Totals{});
}

TEST(Transfer, a_resume_at_the_very_end_sends_nothing) {
    std::mt19937_64 random(5);
    auto transfer = fake::random_transfer(random, 1 << 20);
    ASSERT_TRUE(Attempt(transfer, random, 2, {}).run().has_value());
    const auto totals = Attempt(transfer, random, 2, {}).run();
    ASSERT_TRUE(totals.has_value());
    EXPECT_EQ(*totals, model::Totals{});
    EXPECT_TRUE(transfer.target_equals_source());
}

TEST(Transfer, a_full_target_is_reported_with_its_kind_and_resumes_after_room_was_made) {
    std::mt19937_64 random(3);
    fake::Story story{.base = fake::Bytes(8 << 20), .now = {}, .changes = {}};
    story.now = fake::random_bytes(8 << 20, random);
    story.changes = {{ByteOffset(0), ByteSize(8 << 20)}};
    fake::Transfer transfer({story}, false);
    transfer.targets[0]->room = 5 << 20;
    ReceiverOptions options;
    options.checkpoint_bytes = ByteSize(1 << 20);
    Attempt attempt(transfer, random, 2, {}, options);
    const auto totals = attempt.run();
    ASSERT_FALSE(totals.has_value());
    EXPECT_EQ(totals.error().kind(), ErrorKind::no_space);
    EXPECT_THAT(totals.error().text(), HasSubstr("the target reports: write disk 0 at"));
    EXPECT_GT(transfer.durable.offset.count(), 0U);
    transfer.targets[0]->room = ~std::size_t{0};
    Attempt again(transfer, random, 2, {}, options);
    const auto rest = again.run();
    ASSERT_TRUE(rest.has_value());
    EXPECT_LT(rest->chunks, 8U);
    EXPECT_TRUE(transfer.target_equals_source());
}

TEST(Transfer, an_unreadable_source_names_disk_and_place) {
    std::mt19937_64 random(3);
    auto story = fake::Story{.base = fake::Bytes(4 << 20), .now = {}, .changes = {}};
    story.now = fake::random_bytes(4 << 20, random);
    story.changes = {{ByteOffset(0), ByteSize(4 << 20)}};
    fake::Transfer transfer({story}, false);
    transfer.readers[0]->fail_at = ByteOffset(2 << 20);
    const auto totals = Attempt(transfer, random, 1, {}).run();
    ASSERT_FALSE(totals.has_value());
    EXPECT_THAT(totals.error().text(), HasSubstr("disk 0 at 2097152: a bad sector"));
}

TEST(Transfer, scattered_small_changes_cost_little_more_than_themselves) {
    std::mt19937_64 random(9);
    fake::Story story{.base = fake::random_bytes(64 << 20, random), .now = {}, .changes = {}};
    story.now = story.base;
    for (std::uint64_t i = 0; i < 256; ++i) {
        const auto at = i * (256 << 10) + random() % 60 * 4096;
        std::ranges::copy(fake::random_bytes(4096, random),
                          story.now.begin() + static_cast<std::ptrdiff_t>(at));
        story.changes.push_back({ByteOffset(at), ByteSize(4096), model::ExtentKind::data});
    }
    fake::Transfer transfer({story}, true);
    Attempt attempt(transfer, random, 1, {});
    ASSERT_TRUE(attempt.run().has_value());
    EXPECT_TRUE(transfer.target_equals_source());
    const auto wire = attempt.sender->progress().wire_bytes;
    EXPECT_GE(wire, 1U << 20);
    EXPECT_LT(wire, (1U << 20) + (64U << 10));
}

}  // namespace
}  // namespace understudy::mover
