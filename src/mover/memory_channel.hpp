#pragma once

#include "mover/receiver.hpp"
#include "ports/peer_link.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <vector>

namespace understudy::mover {

// What happens to one frame on its way to the target.
enum class FrameFate {
    arrives,
    is_damaged,    // one bit of it flips
    is_repeated,   // it arrives twice
    cuts_channel,  // it and everything after it are lost, here and on the way back
};

// A channel without a network: every frame is encoded, kept in order, decoded and given to a
// Receiver in this process. For tests and the simulation; nothing is timed, so one seed is one run.
// One thread at a time.
class MemoryChannel final : public ports::ChunkChannel {
public:
    struct Options {
        // Asked for each frame. If it is damaged, the bit that flips is `bit` modulo the frame's
        // number of bits. Empty: every frame arrives.
        std::function<FrameFate(std::uint64_t& bit)> fate;
        std::size_t in_flight =
            0;  // that wait for deliver(); beyond that number the oldest arrives
        std::function<Duration()> now;  // for the receiver's checkpoints; empty: time stands still
    };

    MemoryChannel(Receiver& receiver, Options options);

    Result<> send(const model::Chunk& chunk) override;
    Result<std::optional<model::Ack>> poll_ack() override;
    Result<> request_flush() override;
    ports::LinkStats stats() override { return {}; }
    std::uint64_t wire_bytes() override { return wire_; }

    bool deliver();  // the oldest frame in flight arrives; false: there was none
    bool cut() const { return cut_; }

private:
    using Bytes = std::vector<std::byte>;

    Result<> post(Bytes frame);
    void arrive(const Bytes& frame);
    Result<std::optional<model::Ack>> receive(const Bytes& frame);
    Error broken() const;

    Receiver& receiver_;
    Options options_;
    Workspace workspace_;  // the receiving side's
    std::deque<Bytes> in_flight_;
    std::deque<Bytes> replies_;
    std::uint64_t wire_ = 0;
    std::uint64_t sent_ = 0;  // the newest chunk's sequence, plus one
    bool cut_ = false;
    bool ended_ = false;  // the receiving side gave up; its error frame is among the replies
};

}  // namespace understudy::mover
