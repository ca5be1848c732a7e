#pragma once

#include "mover/memory_channel.hpp"
#include "ports/peer_link.hpp"

#include <memory>

namespace understudy::sim {

class World;
class Cluster;

// Links of one cluster to the others: calls that may be lost, repeated, or lose their reply.
std::unique_ptr<ports::PeerLinks> make_links(World& world, Cluster& from);

// Chunks to a peer, whose process or the line to it may end at any moment.
class StageChannel final : public ports::ChunkChannel {
public:
    StageChannel(World& world, Cluster& from, Cluster& to,
                 std::shared_ptr<mover::Receiver> receiver);
    ~StageChannel() override;
    StageChannel(const StageChannel&) = delete;
    StageChannel& operator=(const StageChannel&) = delete;

    Result<> send(const model::Chunk& chunk) override;
    Result<std::optional<model::Ack>> poll_ack() override;
    Result<> request_flush() override;
    ports::LinkStats stats() override { return {}; }
    std::uint64_t wire_bytes() override { return memory_ ? memory_->wire_bytes() : 0; }

    const Cluster& to() const { return to_; }
    void hang_up();  // nothing of the target is touched any more

private:
    template <class Call>
    auto carry(std::string_view name, Call call)
        -> decltype(call(std::declval<mover::MemoryChannel&>()));
    mover::FrameFate fate(std::uint64_t& bit);

    World& world_;
    Cluster& from_;
    Cluster& to_;
    std::shared_ptr<mover::Receiver> receiver_;
    std::unique_ptr<mover::MemoryChannel> memory_;
    unsigned idle_polls_ = 0;
};

}  // namespace understudy::sim
