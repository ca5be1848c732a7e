#pragma once

#include "tasks/queue/work.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace understudy::tasks {

// A task may be made of others: a move takes snapshots and sends them. Such a part has arguments, a
// step and a memo of its own, which stand in the whole task's row under its name; its log,
// progress, lease and cancellation are the whole's.

namespace detail {
Result<nlohmann::json> run_part(Work& whole, const std::string& name, const Kind& kind,
                                const nlohmann::json& arguments);
}  // namespace detail

// Runs the kind's steps, from where an earlier attempt was, and gives the part's result. Once there
// is a result, the part is not run again. `arguments` count only the first time. After a conflict
// it plans again.
template <Fielded PartResult, Fielded Arguments>
Result<PartResult> run_part(Work& whole, const std::string& name, const Kind& kind,
                            const Arguments& arguments) {
    const auto written =
        UNDERSTUDY_VALUE(detail::run_part(whole, name, kind, write_record(arguments)));
    return read_record<PartResult>(written);
}

// Undoes what parts of these kinds have left half-done, and forgets all parts.
Result<> undo_parts(Work& whole, const std::vector<Kind>& kinds);

// Whether a part was begun, and not forgotten since.
bool has_part(Work& whole, const std::string& name);
// Forgets a part that has ended: it can be run anew.
void forget_part(Work& whole, const std::string& name);

// "PREFIX-TIME", for a snapshot that a task takes for itself: without ':', as file names like it.
std::string stamped_name(Site& site, std::string_view prefix);

// A task's result, read from its row.
template <Fielded TaskResult>
Result<TaskResult> result_in(const model::Task& task) {
    const auto row = UNDERSTUDY_VALUE(parse_row(task.result));
    return read_record<TaskResult>(row);
}

// The step and the records of a task, or of one of its parts, for others who look.
struct TaskPart {
    std::string kind;
    std::string step;
    nlohmann::json arguments;  // records of that kind
    nlohmann::json memo;
};
// A task's arguments, read from its row.
template <Fielded Arguments>
Result<Arguments> arguments_in(const model::Task& task) {
    const auto row = UNDERSTUDY_VALUE(parse_row(task.arguments));
    return read_record<Arguments>(row);
}

// The task itself, and each of its parts that has no result yet. corrupt, unsupported: its row
// cannot be read.
Result<std::vector<TaskPart>> parts_of(const model::Task& task);

}  // namespace understudy::tasks
