#pragma once

#include "mover/sender.hpp"
#include "ports/peer_link.hpp"

namespace understudy::mover {

// One channel's share of a send, one small step at a time. The steps are the same whether threads
// drive the lanes (pump) or one thread drives all of them (the simulation). Borrows both arguments.
// One thread at a time.
class Lane {
public:
    enum class Did {
        sent,     // a chunk; call again
        waited,   // nothing to do until an acknowledgement arrives
        finished  // every chunk of the attempt is acknowledged
    };

    Lane(Sender& sender, ports::ChunkChannel& channel) : sender_(sender), channel_(channel) {}

    // Takes what was acknowledged, then sends the next chunk or asks for what is missing. After an
    // error the attempt is over.
    Result<Did> step();

private:
    Result<> take_ack();

    Sender& sender_;
    ports::ChunkChannel& channel_;
    Workspace workspace_;
    unsigned since_poll_ = 0;
    std::uint64_t since_poll_bytes_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t counted_wire_ = 0;
    std::uint64_t flushed_ = 0;  // of sent_, when a flush was last requested here
};

}  // namespace understudy::mover
