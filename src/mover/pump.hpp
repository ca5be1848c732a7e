#pragma once

#include "model/task.hpp"
#include "mover/sender.hpp"
#include "ports/peer_link.hpp"
#include "ports/world.hpp"

#include <functional>
#include <memory>

namespace understudy::mover {

using OpenChannel = std::function<Result<std::unique_ptr<ports::ChunkChannel>>()>;

struct PumpOptions {
    unsigned channels = 2;                         // at most; a further one only when it pays
    Duration patience = std::chrono::seconds(60);  // without any progress: unavailable
    Duration report_every = std::chrono::milliseconds(500);
    std::function<void(const model::Progress&)> report;  // from the caller's thread; may be empty
};

// Drives a Sender with one thread per channel until every chunk is acknowledged as durable, and
// gives the totals to commit with. Blocks; all threads have ended when it returns. The first error
// of any channel ends all of them; a thread inside ChunkChannel::send notices when that returns.
// open_channel is called by the channels' threads, perhaps by several at once.
Result<model::Totals> pump(Sender& sender, const OpenChannel& open_channel, ports::Clock& clock,
                           const PumpOptions& options);

}  // namespace understudy::mover
