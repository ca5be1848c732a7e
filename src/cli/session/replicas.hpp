#pragma once

#include "cli/session/context.hpp"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace understudy::cli {

// The replicas here, of all peers or of one named by its name or id. Nothing else that
// `replica list` shows: no VM that is superseded or on its way to a peer.
Result<std::vector<nlohmann::json>> replicas_of(const Context& context,
                                                const std::optional<std::string>& peer);

}  // namespace understudy::cli
