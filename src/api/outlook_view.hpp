#pragma once

#include "tasks/queue/site.hpp"

#include <nlohmann/json_fwd.hpp>

namespace understudy::api {

// The operator's one look at what is kept here for other clusters:
// {"replicas": […], "unsettled": […], "summary": […]} as OPERATORS.md has it.
Result<nlohmann::json> replicas_at_a_glance(tasks::Site& site);

}  // namespace understudy::api
