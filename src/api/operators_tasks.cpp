#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>

// Calls about tasks: list, details, log, cancel, retry. Details may wait for news, at most 30 s:
// the wait ends when the task has ended, when its progress mark is another one, or when the daemon
// stops. This node's tasks ring a bell; for those of other nodes the catalog is read every 500 ms.
// Each waiting call keeps one connection's thread.

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr std::int64_t kLongestWait = 30'000;
constexpr Duration kLookEvery{500};  // for changes by other nodes; this node's ring the bell

Result<Reply> list(const Asked& asked) {
    auto limit = UNDERSTUDY_VALUE(number_query(asked, "limit", 200));
    ports::TaskFilter filter;
    filter.active_only = asked.query("active") == "1";
    filter.limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit, 1, 1000));
    if (const auto word = asked.query("vm"); !word.empty()) {
        auto vm = UNDERSTUDY_VALUE(find_vm(asked.site(), word));
        filter.vm = vm;
    }
    auto tasks = UNDERSTUDY_VALUE(asked.site().catalog.tasks(filter));
    auto views = nlohmann::json::array();
    for (const auto& task : tasks) views.push_back(task_view(task));
    return Reply{200, {{"tasks", std::move(views)}}};
}

// Is another text whenever there is something new to show.
std::string mark_of(const model::Task& task) {
    return fmt::format("{}.{}.{}.{}", model::to_string(task.state), task.attempts, task.step,
                       task.progress.done_bytes);
}

Result<Reply> info(const Asked& asked, model::Task task) {
    auto wait = UNDERSTUDY_VALUE(number_query(asked, "wait_ms", 0));
    auto& clock = asked.site().clock;
    auto& changed = asked.site().bells->changed;
    const auto until = clock.monotonic() + Duration(std::min(wait, kLongestWait));
    const auto seen = asked.query("progress");
    while (true) {
        const auto rung = changed.rung();
        auto now = UNDERSTUDY_VALUE(asked.site().catalog.task(task.id));
        task = std::move(now);
        const bool news = task.ended_already() || (!seen.empty() && mark_of(task) != seen);
        const auto left = until - clock.monotonic();
        if (news || left <= Duration::zero() || changed.closed()) break;
        changed.wait(rung, std::min(left, kLookEvery));
    }
    return Reply{200, {{"task", task_view(task)}, {"progress_mark", mark_of(task)}}};
}

Result<Reply> change(const Asked& asked, const model::Task& task) {
    auto& site = asked.site();
    if (asked.path[2] == "cancel")
        UNDERSTUDY_TRY(site.catalog.request_cancel(task.id, site.clock.now()));
    else
        UNDERSTUDY_TRY(site.catalog.retry_task(task.id, site.clock.now()));
    site.bells->queued.ring();
    site.bells->changed.ring();
    auto now = UNDERSTUDY_VALUE(site.catalog.task(task.id));
    return Reply{200, {{"task", task_view(now)}}};
}

Result<Reply> log(const Asked& asked, const model::Task& task) {
    auto after = UNDERSTUDY_VALUE(number_query(asked, "after", 0));
    auto lines = UNDERSTUDY_VALUE(asked.site().catalog.task_log(task.id, after, 1000));
    return Reply{200, {{"lines", lines}}};
}

}  // namespace

Answer answer_tasks(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "tasks") return std::nullopt;
    if (asked.is("GET", 1)) return list(asked);
    if (asked.path.size() < 2) return std::nullopt;
    auto task = find_task(asked.site(), asked.path[1]);
    if (!task) return Result<Reply>(std::unexpected(std::move(task.error())));
    if (asked.is("GET", 2)) return info(asked, std::move(*task));
    if (asked.is("POST", 3) && (asked.path[2] == "cancel" || asked.path[2] == "retry"))
        return change(asked, *task);
    if (asked.is("GET", 3) && asked.path[2] == "log") return log(asked, *task);
    return std::nullopt;
}

}  // namespace understudy::api
