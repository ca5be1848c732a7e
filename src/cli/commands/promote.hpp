#pragma once

#include "cli/session/context.hpp"

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace understudy::cli {

// How replicas are to be promoted, as the API wants it. invalid: options that do
// not go together.
Result<nlohmann::json> promote_body(const Arguments& arguments);

// What the owner loses by a promote; shown before the question.
inline constexpr std::string_view kOwnerLosesVm =
    "\nThe cluster that owns it now loses it: if the VM still runs there, what it writes from now "
    "on\nwill not be part of this VM. Make sure that it is down there.";

// The names that were given, or with --all the newest snapshot of every replica (of --peer).
// One table, one question; then all are queued, the daemon goes on when this command ends, and
// none that fails stops another.
Result<Exit> promote_several(Context& context, const Arguments& arguments);

}  // namespace understudy::cli
