#pragma once

#include "ports/peer_link.hpp"

#include <memory>

namespace understudy::golden {

class Stage;
class Host;

// Links of one host to the others.
std::unique_ptr<ports::PeerLinks> make_links(Stage& stage, Host& from);

}  // namespace understudy::golden
