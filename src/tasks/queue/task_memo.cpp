#include "tasks/queue/task_memo.hpp"

namespace understudy::tasks {
namespace {

// The value of a field, which is not there any more afterwards; null: it was not there.
nlohmann::json take(nlohmann::json& j, const char* name) {
    const auto found = j.find(name);
    if (found == j.end()) return nullptr;
    auto value = std::move(*found);
    j.erase(found);
    return value;
}

}  // namespace

void TaskMemo::upgrade(nlohmann::json& j, int) {
    auto upgraded = nlohmann::json::object();
    if (auto attempts = take(j, "attempts_in_vain"); !attempts.is_null())
        upgraded["attempts_without_progress"] = std::move(attempts);
    if (auto ended = take(j, "outcome"); !ended.is_null()) upgraded["ended_as"] = std::move(ended);
    auto parts = take(j, "parts");
    if (parts.is_object())
        for (auto& [name, part] : parts.items())
            if (auto told = take(part, "told"); !told.is_null())
                part["partial_result"] = std::move(told);
    if (!parts.is_null()) upgraded["parts"] = std::move(parts);
    upgraded["memo"] = std::move(j);
    j = std::move(upgraded);
}

Result<TaskMemo> read_task_memo(const model::Task& task) {
    const auto row = parse_row(task.memo);
    if (!row) return fail(Error(row.error()).during("memo"));
    auto memo = read_record<TaskMemo>(*row);
    if (!memo) return fail(std::move(memo.error()).during("memo"));
    return memo;
}

std::string write_task_memo(const TaskMemo& memo) {
    return write_changes(memo).dump();
}

}  // namespace understudy::tasks
