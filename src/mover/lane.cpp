#include "mover/lane.hpp"

namespace understudy::mover {
namespace {

// To look for an acknowledgement is a system call. It is made not for every 4 KiB, but often enough
// to stop soon.
constexpr unsigned kPollChunks = 16;
constexpr std::uint64_t kPollBytes = 1 << 20;

}  // namespace

Result<> Lane::take_ack() {
    since_poll_ = 0;
    since_poll_bytes_ = 0;
    for (;;) {
        auto ack = UNDERSTUDY_VALUE(channel_.poll_ack());
        if (!ack) return {};
        UNDERSTUDY_TRY(sender_.on_ack(*ack));
    }
}

Result<Lane::Did> Lane::step() {
    const bool full = sender_.window_full();
    if (full || since_poll_ >= kPollChunks || since_poll_bytes_ >= kPollBytes)
        UNDERSTUDY_TRY(take_ack());
    if (!full) {
        auto chunk = UNDERSTUDY_VALUE(sender_.next(workspace_));
        if (chunk) {
            UNDERSTUDY_TRY(channel_.send(*chunk));
            ++sent_;
            ++since_poll_;
            since_poll_bytes_ += chunk->payload.size();
            const auto wire = channel_.wire_bytes();
            sender_.count_wire(wire - counted_wire_);
            counted_wire_ = wire;
            if (sender_.wants_flush()) {
                sender_.flush_requested();
                flushed_ = sent_;
                UNDERSTUDY_TRY(channel_.request_flush());
            }
            return Did::sent;
        }
    }
    if (flushed_ != sent_) {
        flushed_ = sent_;
        UNDERSTUDY_TRY(channel_.request_flush());
    }
    UNDERSTUDY_TRY(take_ack());
    return sender_.complete() ? Did::finished : Did::waited;
}

}  // namespace understudy::mover
