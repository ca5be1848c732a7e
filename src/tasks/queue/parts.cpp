#include "tasks/queue/parts.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::tasks {

namespace detail {

Result<nlohmann::json> run_part(Work& whole, const std::string& name, const Kind& kind,
                                const nlohmann::json& arguments) {
    auto& parts = whole.row().parts;
    if (!parts.contains(name)) {
        PartRecord begun;
        begun.kind = kind.name;
        begun.arguments = arguments;
        parts[name] = std::move(begun);
    }
    if (parts[name].result) return *parts[name].result;
    Work part(whole, name);
    UNDERSTUDY_TRY(part.open(kind.records));
    UNDERSTUDY_TRY(run_steps(part, kind, OnConflict::plan_again));
    auto result = part.written_result();
    parts[name].result = result;
    UNDERSTUDY_TRY(whole.save_memo());
    return result;
}

}  // namespace detail

Result<> undo_parts(Work& whole, const std::vector<Kind>& kinds) {
    auto& parts = whole.row().parts;
    std::vector<std::string> names;
    for (const auto& [name, record] : parts)
        if (!record.result) names.push_back(name);
    for (const auto& name : names) {
        const auto kind = std::ranges::find(kinds, parts[name].kind, &Kind::name);
        if (kind == kinds.end() || kind->on_failure == nullptr) continue;
        Work part(whole, name);
        UNDERSTUDY_TRY(part.open(kind->records));
        UNDERSTUDY_TRY(kind->on_failure(part));
    }
    parts.clear();
    return {};
}

bool has_part(Work& whole, const std::string& name) {
    return whole.row().parts.contains(name);
}

void forget_part(Work& whole, const std::string& name) {
    whole.row().parts.erase(name);
}

std::string stamped_name(Site& site, std::string_view prefix) {
    auto name = fmt::format("{}-{}", prefix, base::format_time(site.clock.now()));
    std::erase_if(name, [](char c) { return c == ':'; });
    return name;
}

Result<std::vector<TaskPart>> parts_of(const model::Task& task) {
    auto memo = UNDERSTUDY_VALUE(read_task_memo(task));
    auto arguments = UNDERSTUDY_VALUE(parse_row(task.arguments));
    std::vector<TaskPart> all;
    all.push_back({task.kind, task.step, std::move(arguments), std::move(memo.memo)});
    for (auto& [name, record] : memo.parts)
        if (!record.result)
            all.push_back({std::move(record.kind), std::move(record.step),
                           std::move(record.arguments), std::move(record.memo)});
    return all;
}

}  // namespace understudy::tasks
