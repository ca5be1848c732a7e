#include "mover/memory_channel.hpp"

#include <algorithm>

// A channel in this process, for tests and the simulation. send() and request_flush() encode a
// frame and ask what happens to it; deliver() gives the oldest frame to the Receiver, whose answer
// waits for poll_ack(). A cut drops all frames in flight and all answers, as a lost connection
// does. Nothing is timed and nothing is kept. One thread at a time.

namespace understudy::mover {

using protocol::kHeaderSize;

MemoryChannel::MemoryChannel(Receiver& receiver, Options options)
    : receiver_(receiver), options_(std::move(options)) {}

Error MemoryChannel::broken() const {
    return {ErrorKind::unavailable, "the connection was cut"};
}

Result<> MemoryChannel::send(const model::Chunk& chunk) {
    const auto header = protocol::encode_chunk_header(chunk);
    Bytes frame(header.size() + chunk.payload.size());
    std::ranges::copy(chunk.payload, std::ranges::copy(header, frame.begin()).out);
    sent_ = chunk.sequence + 1;
    return post(std::move(frame));
}

Result<> MemoryChannel::request_flush() {
    const auto header = protocol::encode_flush_request(sent_);
    return post(Bytes(header.begin(), header.end()));
}

Result<> MemoryChannel::post(Bytes frame) {
    if (cut_) return fail(broken());
    wire_ += frame.size();
    std::uint64_t bit = 0;
    const auto fate = options_.fate ? options_.fate(bit) : FrameFate::arrives;
    if (fate == FrameFate::cuts_channel) {
        // What has arrived before counts at the target, but no answer comes back.
        cut_ = true;
        in_flight_.clear();
        replies_.clear();
        return {};
    }
    if (fate == FrameFate::is_damaged) {
        bit %= frame.size() * 8;
        frame[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
    if (fate == FrameFate::is_repeated) in_flight_.push_back(frame);
    in_flight_.push_back(std::move(frame));
    while (in_flight_.size() > options_.in_flight) deliver();
    return {};
}

bool MemoryChannel::deliver() {
    if (in_flight_.empty()) return false;
    const auto frame = std::move(in_flight_.front());
    in_flight_.pop_front();
    arrive(frame);
    return true;
}

void MemoryChannel::arrive(const Bytes& frame) {
    if (ended_) return;
    auto answer = receive(frame);
    if (!answer) {
        ended_ = true;
        replies_.push_back(protocol::encode_error(answer.error()));
    } else if (*answer) {
        const auto ack = protocol::encode_ack(**answer);
        replies_.emplace_back(ack.begin(), ack.end());
    }
}

Result<std::optional<model::Ack>> MemoryChannel::receive(const Bytes& frame) {
    const auto bytes = std::span<const std::byte>(frame);
    auto header = UNDERSTUDY_VALUE(protocol::decode_header(bytes.first(kHeaderSize)));
    return receiver_.take_frame(header, bytes.subspan(kHeaderSize), workspace_,
                                options_.now ? options_.now() : Duration{});
}

Result<std::optional<model::Ack>> MemoryChannel::poll_ack() {
    if (cut_) return fail(broken());
    if (replies_.empty()) return std::nullopt;
    const auto frame = std::move(replies_.front());
    replies_.pop_front();
    const auto bytes = std::span<const std::byte>(frame);
    auto header = UNDERSTUDY_VALUE(protocol::decode_header(bytes.first(kHeaderSize)));
    const auto payload = bytes.subspan(kHeaderSize);
    if (header.type == protocol::FrameType::error)
        return fail(protocol::decode_error(header, payload).during("the target reports"));
    auto ack = protocol::decode_ack(header, payload);
    if (!ack) return error_of(ack);
    return *ack;
}

}  // namespace understudy::mover
