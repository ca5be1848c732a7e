#pragma once

#include "tasks/queue/site.hpp"

#include <nlohmann/json_fwd.hpp>

namespace understudy::api {

// Everything that is kept here for other clusters, at one look:
// {"replicas": […], "unsettled": […], "summary": […]}; OPERATORS.md lists the fields.
Result<nlohmann::json> replicas_at_a_glance(tasks::Site& site);

}  // namespace understudy::api
