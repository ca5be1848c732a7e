#pragma once

#include "net/stream.hpp"
#include "ports/peer_link.hpp"
#include "tasks/replicas/receiving.hpp"

#include <memory>

namespace understudy::api {

// The source's end of a channel over an upgraded connection. If a call sees no progress for as long
// as `patience`, it fails as unavailable; so does a call of serve_channel.
std::unique_ptr<ports::ChunkChannel> make_channel(std::unique_ptr<net::Stream> stream,
                                                  Duration patience);

// The target's end: gives the receiver each frame that comes, and sends acknowledgements, until the
// source says goodbye, the connection breaks or an error was reported. Runs in the connection's
// thread. Memory: one frame and one mover::Workspace.
void serve_channel(net::Stream& stream, mover::Receiver& receiver, ports::Clock& clock,
                   Duration patience);

}  // namespace understudy::api
