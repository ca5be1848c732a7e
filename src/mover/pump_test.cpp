#include "mover/pump.hpp"

#include "mover/fake_transfer.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

namespace understudy::mover {
namespace {

using testing::HasSubstr;

class SteadyClock final : public ports::Clock {
public:
    TimePoint now() override {
        return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
    }
    Duration monotonic() override {
        return std::chrono::duration_cast<Duration>(
            std::chrono::steady_clock::now().time_since_epoch());
    }
    void sleep(Duration time) override { std::this_thread::sleep_for(time); }
};

// A memory channel that counts how many of its kind are open. Its link bounds the rate.
class CountedChannel final : public ports::ChunkChannel {
public:
    CountedChannel(Receiver& receiver, MemoryChannel::Options options, std::atomic<int>& open)
        : inner_(receiver, std::move(options)), open_(open) {
        ++open_;
    }
    ~CountedChannel() override { --open_; }
    Result<> send(const model::Chunk& chunk) override { return inner_.send(chunk); }
    Result<std::optional<model::Ack>> poll_ack() override { return inner_.poll_ack(); }
    Result<> request_flush() override { return inner_.request_flush(); }
    ports::LinkStats stats() override { return {.delivery_rate_bytes = 1, .app_limited = false}; }
    std::uint64_t wire_bytes() override { return inner_.wire_bytes(); }

private:
    MemoryChannel inner_;
    std::atomic<int>& open_;
};

fake::Transfer noise(std::uint64_t size) {
    std::mt19937_64 random(size);
    fake::Story story{.base = fake::Bytes(size),
                      .now = fake::random_bytes(size, random),
                      .changes = {{ByteOffset(0), ByteSize(size), model::ExtentKind::data}}};
    return fake::Transfer({std::move(story)}, false);
}

struct PumpTest : testing::Test {
    SteadyClock clock;
    std::atomic<int> open = 0;
    std::atomic<int> opened = 0;
    MemoryChannel::Options wire;
    std::unique_ptr<Receiver> receiver;

    OpenChannel opener() {
        return [this]() -> Result<std::unique_ptr<ports::ChunkChannel>> {
            ++opened;
            return std::make_unique<CountedChannel>(*receiver, wire, open);
        };
    }
};

TEST_F(PumpTest, several_threads_move_a_disk_whole) {
    auto transfer = noise(48 << 20);
    receiver = transfer.receiver();
    const auto sender = transfer.sender();
    const auto totals = pump(*sender, opener(), clock, {.channels = 4, .report = {}});
    ASSERT_TRUE(totals.has_value()) << totals.error().text();
    EXPECT_TRUE(receiver->finish(*totals).has_value());
    EXPECT_TRUE(transfer.target_equals_source());
    EXPECT_GT(opened, 1);
    EXPECT_EQ(open, 0);
    EXPECT_EQ(transfer.durable.offset, ByteOffset(48 << 20));
}

TEST_F(PumpTest, random_disks_arrive_whole_over_threads) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        std::mt19937_64 random(seed);
        auto transfer = fake::random_transfer(random, 12 << 20);
        transfer.rate_limit *= 1000;  // chooses codecs and delays nothing
        receiver = transfer.receiver();
        const auto sender = transfer.sender();
        const auto totals = pump(*sender, opener(), clock, {.channels = 3, .report = {}});
        ASSERT_TRUE(totals.has_value()) << "seed " << seed << ": " << totals.error().text();
        ASSERT_TRUE(receiver->finish(*totals).has_value());
        ASSERT_TRUE(transfer.target_equals_source()) << "seed " << seed;
    }
}

TEST_F(PumpTest, a_small_increment_takes_one_channel) {
    auto transfer = noise(2 << 20);
    receiver = transfer.receiver();
    const auto sender = transfer.sender();
    ASSERT_TRUE(pump(*sender, opener(), clock, {.channels = 4, .report = {}}).has_value());
    EXPECT_EQ(opened, 1);
}

TEST_F(PumpTest, one_cut_channel_ends_all_and_a_second_pump_goes_on) {
    auto transfer = noise(64 << 20);
    ReceiverOptions often;
    often.checkpoint_bytes = base::MiB(2);
    receiver = transfer.receiver(often);
    std::atomic<int> frames = 0;
    wire.fate = [&](std::uint64_t&) {
        return ++frames == 30 ? FrameFate::cuts_channel : FrameFate::arrives;
    };
    const auto first = transfer.sender();
    const auto broken = pump(*first, opener(), clock, {.channels = 3, .report = {}});
    ASSERT_FALSE(broken.has_value());
    EXPECT_EQ(broken.error().kind(), ErrorKind::unavailable);
    EXPECT_EQ(open, 0);
    EXPECT_GT(transfer.durable.offset.count(), 0U);

    receiver->release();
    receiver = transfer.receiver();
    const auto second = transfer.sender();
    const auto totals = pump(*second, opener(), clock, {.channels = 3, .report = {}});
    ASSERT_TRUE(totals.has_value()) << totals.error().text();
    EXPECT_LT(totals->bytes, 64U << 20);
    EXPECT_TRUE(receiver->finish(*totals).has_value());
    EXPECT_TRUE(transfer.target_equals_source());
}

TEST_F(PumpTest, a_target_that_falls_silent_is_unavailable) {
    auto transfer = noise(1 << 20);
    receiver = transfer.receiver();
    wire.in_flight = 1000;  // nothing ever arrives
    const auto sender = transfer.sender();
    const auto silent = pump(*sender, opener(), clock, {.patience = Duration(30), .report = {}});
    ASSERT_FALSE(silent.has_value());
    EXPECT_EQ(silent.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(silent.error().text(), HasSubstr("acknowledged nothing"));
}

TEST_F(PumpTest, a_channel_that_does_not_open_is_named) {
    auto transfer = noise(1 << 20);
    const auto sender = transfer.sender();
    const OpenChannel closed = [] {
        return Result<std::unique_ptr<ports::ChunkChannel>>(
            fail(ErrorKind::unavailable, "connection refused"));
    };
    EXPECT_EQ(pump(*sender, closed, clock, {.report = {}}).error().text(),
              "open a channel: connection refused");
}

TEST_F(PumpTest, the_rate_limit_holds_and_progress_is_reported) {
    auto transfer = noise(3 << 20);
    transfer.rate_limit = 10 << 20;
    receiver = transfer.receiver();
    const auto sender = transfer.sender();
    std::vector<model::Progress> reports;
    const auto begin = clock.monotonic();
    const auto totals = pump(
        *sender, opener(), clock,
        {.report_every = Duration(20), .report = [&](const auto& p) { reports.push_back(p); }});
    const auto took = clock.monotonic() - begin;
    ASSERT_TRUE(totals.has_value());
    // 3 MiB at 10 MiB/s: the last chunk need not be waited for, a burst of 0.1 s is free.
    EXPECT_GE(took, Duration(95));
    ASSERT_FALSE(reports.empty());
    EXPECT_GT(reports.back().done_bytes, 0U);
    EXPECT_GT(reports.back().wire_bytes, reports.back().done_bytes);
}

TEST_F(PumpTest, cancelling_ends_a_throttled_send_soon) {
    auto transfer = noise(8 << 20);
    receiver = transfer.receiver();
    auto options = transfer.sender_options();
    std::atomic<bool> cancelled = false;
    options.rate_limit = [] { return std::uint64_t{1000}; };
    options.cancelled = [&] { return cancelled.load(); };
    const auto sender = transfer.sender(options);
    std::thread operator_at_work([&] {
        while (sender->progress().done_bytes == 0) std::this_thread::yield();
        cancelled = true;
    });
    const auto result = pump(*sender, opener(), clock, {.report = {}});
    operator_at_work.join();
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace understudy::mover
