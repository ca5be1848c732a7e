#pragma once

#include "cli/session/context.hpp"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace understudy::cli {

// Long work: started by a call, followed by long poll until it ended.

inline constexpr Duration kLongPoll = std::chrono::seconds(30);  // the API's limit
// So that a daemon that answers at once every time is not asked without end; short beside a send.
inline constexpr Duration kShortestPoll = std::chrono::milliseconds(10);
inline constexpr Duration kLongestAbsence = std::chrono::seconds(60);  // a restart takes less

// Waits for the end of a task, showing its progress; the last answer of /v1/tasks/{task}, however
// it ended. Rides over a restart of understudyd. Ctrl-C meanwhile ends the process with exit code
// 1, saying that the task goes on and how to come back; `not_begun` adds what was not begun.
Result<nlohmann::json> wait_for_task(const Context& context, const nlohmann::json& task,
                                     const std::string& not_begun = "");

// The error that ended a task, or nothing when it succeeded.
Result<> outcome_of(const nlohmann::json& task);

// Calls, waits (or with --no-wait prints the id), and prints the result or fails with its error.
Result<Exit> run_task(const Context& context, const Call& call);
// The part after the call.
Result<Exit> follow_task(const Context& context, const nlohmann::json& task);

// The 202 answer's task; internal when there is none.
Result<nlohmann::json> task_of(const nlohmann::json& answer);

}  // namespace understudy::cli
