#pragma once

#include "net/stream.hpp"
#include "ports/peer_link.hpp"
#include "tasks/replicas/receiving.hpp"

#include <memory>

namespace understudy::api {

// The source's end of a channel over an upgraded connection. A call that sees no progress for as
// long as `patience` fails as unavailable, here and below.
std::unique_ptr<ports::ChunkChannel> make_channel(std::unique_ptr<net::Stream> stream,
                                                  Duration patience);

// The target's end: feeds the receiver with what comes and sends acknowledgements, until the
// source says goodbye, the connection breaks or an error was reported. Runs in the connection's
// thread. Memory: one frame and the receiver's workspace.
void serve_channel(net::Stream& stream, mover::Receiver& receiver, ports::Clock& clock,
                   Duration patience);

}  // namespace understudy::api
