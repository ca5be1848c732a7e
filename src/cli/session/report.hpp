#pragma once

#include "cli/session/context.hpp"

#include <nlohmann/json_fwd.hpp>

namespace understudy::cli {

// Says to people what a task that succeeded has done.
void report_result(const Context& context, const nlohmann::json& task);

}  // namespace understudy::cli
