#include "mover/digest.hpp"
#include "mover/fake_transfer.hpp"

#include <gmock/gmock.h>

namespace understudy::mover {
namespace {

using model::Chunk;
using model::ExtentKind;
using testing::HasSubstr;

constexpr Duration kNow{0};

fake::Story noise(std::uint64_t size, std::uint64_t seed = 1) {
    std::mt19937_64 random(seed);
    return {.base = fake::Bytes(size),
            .now = fake::random_bytes(size, random),
            .changes = {{ByteOffset(0), ByteSize(size), ExtentKind::data}}};
}

Chunk chunk_at(const fake::Bytes& from, std::uint64_t sequence, std::uint64_t at,
               std::uint64_t length) {
    const auto content = std::span(from).subspan(at, length);
    return {.sequence = sequence,
            .disk = 0,
            .offset = ByteOffset(at),
            .length = ByteSize(length),
            .digest = digest_of(content),
            .payload = content};
}

struct ReceiverTest : testing::Test {
    fake::Transfer transfer{{noise(10 * 4096 + 100)}, false};
    std::unique_ptr<Receiver> receiver = transfer.receiver();
    Workspace workspace;

    const fake::Bytes& content() { return transfer.stories[0].now; }
    Result<> take(std::uint64_t sequence, std::uint64_t at, std::uint64_t length) {
        return receiver->accept(chunk_at(content(), sequence, at, length), workspace);
    }
    void expect_refused(const Chunk& chunk, ErrorKind kind, std::string_view why) {
        const auto refused = receiver->accept(chunk, workspace);
        ASSERT_FALSE(refused.has_value()) << why;
        EXPECT_EQ(refused.error().kind(), kind);
        EXPECT_THAT(refused.error().text(), HasSubstr(std::string(why)));
        EXPECT_EQ(transfer.targets[0]->content(), fake::Bytes(content().size()));
    }
};

TEST_F(ReceiverTest, refuses_what_is_not_on_its_disks_or_their_grid) {
    auto chunk = chunk_at(content(), 0, 0, 4096);
    chunk.disk = 1;
    expect_refused(chunk, ErrorKind::invalid, "does not have");
    chunk = chunk_at(content(), 0, 4096, 100);
    expect_refused(chunk, ErrorKind::invalid, "grid");
    chunk = chunk_at(content(), 0, 512, 4096);
    expect_refused(chunk, ErrorKind::invalid, "grid");
    chunk = chunk_at(content(), 0, 0, 4096);
    chunk.offset = ByteOffset(11 * 4096);
    expect_refused(chunk, ErrorKind::invalid, "does not lie on its disk");
    chunk.offset = ByteOffset(~std::uint64_t{4095});
    expect_refused(chunk, ErrorKind::invalid, "does not lie on its disk");
    chunk = chunk_at(content(), 70'000, 0, 4096);
    expect_refused(chunk, ErrorKind::invalid, "while chunk 0 is missing");
}

TEST_F(ReceiverTest, writes_nothing_that_its_digest_does_not_confirm) {
    auto chunk = chunk_at(content(), 0, 0, 4096);
    chunk.digest[3] ^= std::byte{1};
    expect_refused(chunk, ErrorKind::corrupt, "was damaged on the way");
}

TEST_F(ReceiverTest, acknowledges_only_what_has_no_gap_before_it) {
    ASSERT_TRUE(take(2, 8192, 4096).has_value());
    EXPECT_EQ(receiver->checkpoint(kNow)->totals.chunks, 0U);
    EXPECT_EQ(transfer.durable, (model::DurablePoint{}));
    ASSERT_TRUE(take(0, 0, 4096).has_value());
    auto ack = receiver->checkpoint(kNow);
    EXPECT_EQ(ack->totals.chunks, 1U);
    EXPECT_EQ(ack->durable, (model::DurablePoint{.disk = 0, .offset = ByteOffset(4096)}));
    ASSERT_TRUE(take(1, 4096, 4096).has_value());
    ack = receiver->checkpoint(kNow);
    EXPECT_EQ(ack->totals.chunks, 3U);
    EXPECT_EQ(ack->durable.offset, ByteOffset(3 * 4096));
    EXPECT_EQ(transfer.durable, ack->durable);
}

TEST_F(ReceiverTest, refuses_chunks_that_go_backwards) {
    ASSERT_TRUE(take(0, 8192, 4096).has_value());
    const auto refused = take(1, 4096, 4096);
    ASSERT_FALSE(refused.has_value());
    EXPECT_THAT(refused.error().text(), HasSubstr("lies before its predecessor"));
    EXPECT_FALSE(receiver->checkpoint(kNow).has_value());
}

TEST_F(ReceiverTest, does_not_acknowledge_what_it_could_not_record) {
    ReceiverOptions options;
    options.persist = [](const model::Ack&) -> Result<> {
        return fail(ErrorKind::no_space, "the catalog is full");
    };
    receiver = transfer.receiver(options);
    ASSERT_TRUE(take(0, 0, 4096).has_value());
    EXPECT_FALSE(receiver->checkpoint(kNow).has_value());
    EXPECT_EQ(receiver->durable(), (model::DurablePoint{}));
}

TEST_F(ReceiverTest, a_checkpoint_is_due_by_bytes_by_time_or_on_request) {
    ReceiverOptions options;
    options.checkpoint_bytes = ByteSize(8192);
    options.checkpoint_interval = Duration(1000);
    receiver = transfer.receiver(options);
    EXPECT_FALSE(receiver->checkpoint_due(Duration(5)));
    EXPECT_FALSE(receiver->checkpoint_due(Duration(5000)));  // nothing to make durable
    ASSERT_TRUE(take(0, 0, 4096).has_value());
    EXPECT_FALSE(receiver->checkpoint_due(Duration(1004)));
    EXPECT_TRUE(receiver->checkpoint_due(Duration(1005)));
    ASSERT_TRUE(receiver->checkpoint(Duration(1005)).has_value());
    ASSERT_TRUE(take(1, 4096, 8192).has_value());
    EXPECT_TRUE(receiver->checkpoint_due(Duration(1006)));
    ASSERT_TRUE(receiver->checkpoint(Duration(1006)).has_value());

    const auto ask = [&](std::uint64_t chunks) {
        const auto header = protocol::decode_header(protocol::encode_flush_request(chunks));
        return receiver->take_frame(*header, {}, workspace, Duration(1007)).value();
    };
    EXPECT_TRUE(ask(2).has_value());   // durable already, so acknowledged again
    EXPECT_FALSE(ask(4).has_value());  // not all here yet
    ASSERT_TRUE(take(3, 4 * 4096, 4096).has_value());
    EXPECT_FALSE(receiver->checkpoint_due(Duration(1008)));
    ASSERT_TRUE(take(2, 3 * 4096, 4096).has_value());
    EXPECT_TRUE(receiver->checkpoint_due(Duration(1008)));
    EXPECT_EQ(receiver->tick(Duration(1008)).value()->totals.chunks, 4U);
}

TEST_F(ReceiverTest, an_old_attempt_writes_nothing_any_more) {
    ASSERT_TRUE(take(0, 0, 4096).has_value());
    const auto before = transfer.targets[0]->content();
    EXPECT_EQ(receiver->release().size(), 1U);
    const auto late = take(1, 4096, 4096);
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().kind(), ErrorKind::conflict);
    EXPECT_FALSE(receiver->checkpoint(kNow).has_value());
    EXPECT_FALSE(receiver->finish({}).has_value());
    EXPECT_EQ(transfer.targets[0]->content(), before);
}

TEST_F(ReceiverTest, finish_tells_missing_from_different) {
    ASSERT_TRUE(take(0, 0, 4096).has_value());
    ASSERT_TRUE(take(2, 8192, 4096).has_value());
    model::Totals sent;
    for (const std::uint64_t i : {0, 1, 2}) add_chunk(sent, chunk_at(content(), i, i * 4096, 4096));
    EXPECT_EQ(receiver->finish(sent).error().kind(), ErrorKind::conflict);
    ASSERT_TRUE(take(1, 4096, 4096).has_value());
    EXPECT_TRUE(receiver->finish(sent).has_value());
    ++sent.digest_low;
    EXPECT_EQ(receiver->finish(sent).error().kind(), ErrorKind::corrupt);
}

TEST(Sender, notices_a_target_that_counted_something_else) {
    fake::Transfer transfer({noise(4 << 20)}, false);
    const auto sender = transfer.sender();
    Workspace workspace;
    model::Totals totals;
    for (int i = 0; i < 3; ++i) add_chunk(totals, sender->next(workspace).value().value());
    EXPECT_TRUE(sender->on_ack({.totals = totals, .durable = {}}).has_value());
    EXPECT_TRUE(sender->on_ack({.totals = {}, .durable = {}}).has_value());  // a late one
    auto wrong = totals;
    wrong.digest_high ^= 1;
    EXPECT_EQ(sender->on_ack({.totals = wrong, .durable = {}}).error().kind(), ErrorKind::corrupt);
    wrong = totals;
    wrong.chunks = 4;
    EXPECT_EQ(sender->on_ack({.totals = wrong, .durable = {}}).error().kind(), ErrorKind::corrupt);
    EXPECT_FALSE(sender->complete());
}

TEST(Sender, keeps_a_bounded_account_and_asks_for_flushes) {
    fake::Story story{.base = fake::Bytes(160 << 20), .now = {}, .changes = {}};
    story.now = story.base;
    for (std::uint64_t at = 0; at < story.now.size(); at += 8192) {
        story.now[at] = std::byte{1};
        story.changes.push_back({ByteOffset(at), ByteSize(4096), ExtentKind::data});
    }
    fake::Transfer transfer({story}, true);
    const auto sender = transfer.sender();
    Workspace workspace;
    std::size_t chunks = 0;
    std::size_t flushes = 0;
    model::Totals totals;
    while (!sender->window_full()) {
        add_chunk(totals, sender->next(workspace).value().value());
        ++chunks;
        if (sender->wants_flush()) {
            ++flushes;
            sender->flush_requested();
        }
    }
    EXPECT_EQ(chunks, Sender::kWindow);
    EXPECT_EQ(flushes, Sender::kWindow / Sender::kFlushChunks);
    ASSERT_TRUE(sender->on_ack({.totals = totals, .durable = {}}).has_value());
    EXPECT_FALSE(sender->window_full());
}

TEST(Sender, announces_what_it_will_read_but_not_everything) {
    fake::Transfer transfer({noise(64 << 20)}, false);
    const auto sender = transfer.sender();
    Workspace workspace;
    ASSERT_TRUE(sender->next(workspace).has_value());
    EXPECT_GE(transfer.readers[0]->prefetched, base::MiB(8));
    EXPECT_LE(transfer.readers[0]->prefetched, base::MiB(17));
    EXPECT_TRUE(sender->much_left());
}

TEST(Sender, sends_zeroes_as_zero_ranges) {
    fake::Story story{.base = fake::Bytes(1 << 20, std::byte{1}),
                      .now = fake::Bytes(1 << 20),
                      .changes = {{ByteOffset(0), ByteSize(1 << 20), ExtentKind::data}}};
    fake::Transfer transfer({story}, true);
    Workspace workspace;
    const auto chunk = transfer.sender()->next(workspace).value().value();
    EXPECT_EQ(chunk.kind, ExtentKind::zero);
    EXPECT_TRUE(chunk.payload.empty());
}

TEST(Sender, stops_when_cancelled) {
    fake::Transfer transfer({noise(4 << 20)}, false);
    auto options = transfer.sender_options();
    bool cancelled = false;
    options.cancelled = [&] { return cancelled; };
    const auto sender = transfer.sender(options);
    Workspace workspace;
    ASSERT_TRUE(sender->next(workspace).has_value());
    cancelled = true;
    EXPECT_EQ(sender->next(workspace).error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace understudy::mover
