#include "api/peer_channel.hpp"

#include "protocol/frames.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <vector>

// Both ends of a channel for chunks: NetChannel sends frames and looks for acknowledgements without
// blocking; serve_channel reads frame by frame, gives each to the Receiver and sends what that
// acknowledges. If the target fails, it sends an error frame and reads on for at most 5 s, so that
// the reason is not lost to a reset. Nothing is kept here: the Receiver records what is durable,
// and a later attempt begins there. One thread per channel.

namespace understudy::api {
namespace {

constexpr Duration kTick{250};
constexpr Duration kHearing{5000};  // for the source to hear why its channel ends

Result<> read_exactly(net::Stream& stream, std::span<std::byte> into) {
    while (!into.empty()) {
        auto got = UNDERSTUDY_VALUE(stream.read_some(into));
        if (got == 0) return fail(ErrorKind::unavailable, "the peer closed the channel");
        into = into.subspan(got);
    }
    return {};
}

struct Frame {
    protocol::FrameHeader header;
    std::span<const std::byte> payload;
};

// Reads one frame; the payload stays in `buffer`.
Result<Frame> read_frame(net::Stream& stream, std::vector<std::byte>& buffer) {
    protocol::HeaderBytes bytes{};
    UNDERSTUDY_TRY(read_exactly(stream, bytes));
    auto header = UNDERSTUDY_VALUE(protocol::decode_header(bytes));
    if (buffer.size() < header.payload_length) buffer.resize(header.payload_length);
    const std::span<std::byte> payload(buffer.data(), header.payload_length);
    UNDERSTUDY_TRY(read_exactly(stream, payload));
    return Frame{header, payload};
}

class NetChannel final : public ports::ChunkChannel {
public:
    NetChannel(std::unique_ptr<net::Stream> stream, Duration patience)
        : stream_(std::move(stream)) {
        stream_->set_timeouts(patience, patience);
    }
    ~NetChannel() override {
        const auto bytes = protocol::encode_goodbye();
        if (!stream_->write_all(bytes)) spdlog::debug("a channel ended without goodbye");
    }
    NetChannel(const NetChannel&) = delete;
    NetChannel& operator=(const NetChannel&) = delete;

    Result<> send(const model::Chunk& chunk) override {
        const auto header = protocol::encode_chunk_header(chunk);
        wire_bytes_ += header.size() + chunk.payload.size();
        chunks_ = std::max(chunks_, chunk.sequence + 1);
        return explained(stream_->write_all2(header, chunk.payload));
    }

    Result<std::optional<model::Ack>> poll_ack() override {
        std::optional<model::Ack> newest;
        while (stream_->readable_now()) {
            auto frame = UNDERSTUDY_VALUE(read_frame(*stream_, buffer_));
            if (frame.header.type == protocol::FrameType::error)
                return fail(protocol::decode_error(frame.header, frame.payload));
            if (frame.header.type == protocol::FrameType::goodbye)
                return fail(ErrorKind::unavailable, "the peer ended the channel");
            auto ack = UNDERSTUDY_VALUE(protocol::decode_ack(frame.header, frame.payload));
            if (!newest || ack.totals.chunks > newest->totals.chunks) newest = ack;
        }
        return newest;
    }

    // Asks for all chunks up to the last one that this channel carried. So the channel that carried
    // the attempt's last chunk asks for all of them.
    Result<> request_flush() override {
        const auto bytes = protocol::encode_flush_request(chunks_);
        wire_bytes_ += bytes.size();
        return explained(stream_->write_all(bytes));
    }

    ports::LinkStats stats() override {
        ports::LinkStats answer;
        const auto info = stream_->link_stats();
        if (!info) return answer;
        answer.delivery_rate_bytes = info->delivery_rate;
        answer.app_limited = info->app_limited;
        const auto busy = info->busy_us - last_busy_us_;
        const auto limited = info->receiver_limited_us - last_limited_us_;
        last_busy_us_ = info->busy_us;
        last_limited_us_ = info->receiver_limited_us;
        answer.receiver_limited = busy > 0 && limited * 2 > busy;
        return answer;
    }

    std::uint64_t wire_bytes() override { return wire_bytes_; }

private:
    // If a write failed because the peer cut the channel, the peer has said why: give that error.
    Result<> explained(Result<> written) {
        if (written) return written;
        auto said = poll_ack();
        if (!said && said.error().kind() != ErrorKind::unavailable) return error_of(said);
        return written;
    }

    std::unique_ptr<net::Stream> stream_;
    std::vector<std::byte> buffer_;
    std::uint64_t wire_bytes_ = 0;
    std::uint64_t chunks_ = 0;
    std::uint64_t last_busy_us_ = 0;
    std::uint64_t last_limited_us_ = 0;
};

Result<> send_ack(net::Stream& stream, const std::optional<model::Ack>& ack) {
    if (!ack) return {};
    return stream.write_all(protocol::encode_ack(*ack));
}

// Handles one frame. If none comes within kTick, lets the receiver act by the clock. False: the
// source has said goodbye.
Result<bool> serve_once(net::Stream& stream, mover::Receiver& receiver, ports::Clock& clock,
                        std::vector<std::byte>& buffer, mover::Workspace& workspace) {
    if (!stream.poll_readable(kTick)) {
        auto ack = UNDERSTUDY_VALUE(receiver.tick(clock.monotonic()));
        UNDERSTUDY_TRY(send_ack(stream, ack));
        return true;
    }
    auto frame = UNDERSTUDY_VALUE(read_frame(stream, buffer));
    if (frame.header.type == protocol::FrameType::goodbye) return false;
    if (frame.header.type == protocol::FrameType::error)
        return fail(protocol::decode_error(frame.header, frame.payload));
    auto ack = UNDERSTUDY_VALUE(
        receiver.take_frame(frame.header, frame.payload, workspace, clock.monotonic()));
    UNDERSTUDY_TRY(send_ack(stream, ack));
    return true;
}

// Tells the source why the channel ends. Then what the source has still sent is read and thrown
// away, until the source closes or kHearing has passed: if a connection is closed with unread
// bytes, it is reset, and the source may see the reset before the reason.
void report(net::Stream& stream, const Error& error, ports::Clock& clock,
            std::vector<std::byte>& buffer) {
    if (!stream.write_all(protocol::encode_error(error)) || !stream.end_writing()) {
        spdlog::debug("the error did not reach {}", stream.peer_address());
        return;
    }
    stream.set_timeouts(kHearing, kHearing);
    const auto until = clock.monotonic() + kHearing;
    buffer.resize(std::max<std::size_t>(buffer.size(), 65536));
    while (clock.monotonic() < until) {
        auto got = stream.read_some(buffer);
        if (!got || *got == 0) return;
    }
}

}  // namespace

std::unique_ptr<ports::ChunkChannel> make_channel(std::unique_ptr<net::Stream> stream,
                                                  Duration patience) {
    return std::make_unique<NetChannel>(std::move(stream), patience);
}

void serve_channel(net::Stream& stream, mover::Receiver& receiver, ports::Clock& clock,
                   Duration patience) {
    stream.set_timeouts(patience, patience);
    std::vector<std::byte> buffer;
    mover::Workspace workspace;
    while (true) {
        auto more = serve_once(stream, receiver, clock, buffer, workspace);
        if (more && *more) continue;
        if (!more) {
            spdlog::info("channel from {}: {}", stream.peer_address(), more.error().text());
            report(stream, more.error(), clock, buffer);
        }
        return;
    }
}

}  // namespace understudy::api
