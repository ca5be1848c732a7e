#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

// The queue of tasks. claim_task finds the runnable task that is due for the longest time and makes
// it running in the same transaction. A crash of a worker leaves its task running with a lease.
// Once the lease has lapsed, the task can be claimed again; if another task of the VM is claimed
// instead, that puts it back into the queue. The schema allows one running task per VM that changes
// something.

namespace understudy::catalog {
namespace {

#define UNDERSTUDY_TASKS                                                           \
    "SELECT id, kind, vm, reads_only, title, actor, arguments, state, step, memo," \
    " result, done_bytes,"                                                         \
    " total_bytes, wire_bytes, rate_bytes, note, attempts, error_kind, error,"     \
    " cancel_requested, created, not_before, started, ended, lease_node, lease_until FROM tasks "
#define UNDERSTUDY_ACTIVE "state IN ('queued', 'running') "
#define UNDERSTUDY_NEWEST_FIRST "ORDER BY created DESC, ordinal DESC LIMIT :most"
constexpr const char* kTaskColumns = "tttntttttttnnnntnttnnnnntn";
constexpr Query kTask(UNDERSTUDY_TASKS "WHERE id = :id", kTaskColumns);
constexpr Query kTasks(UNDERSTUDY_TASKS UNDERSTUDY_NEWEST_FIRST, kTaskColumns);
constexpr Query kActiveTasks(UNDERSTUDY_TASKS "WHERE " UNDERSTUDY_ACTIVE UNDERSTUDY_NEWEST_FIRST,
                             kTaskColumns);
constexpr Query kTasksOfVm(UNDERSTUDY_TASKS "WHERE vm = :vm " UNDERSTUDY_NEWEST_FIRST,
                           kTaskColumns);
constexpr Query kActiveTasksOfVm(UNDERSTUDY_TASKS
                                 "WHERE vm = :vm AND " UNDERSTUDY_ACTIVE UNDERSTUDY_NEWEST_FIRST,
                                 kTaskColumns);
constexpr Query kUnfinishedTasks(UNDERSTUDY_TASKS
                                 "WHERE vm = :vm AND state <> 'succeeded' " UNDERSTUDY_NEWEST_FIRST,
                                 kTaskColumns);
constexpr Query kTasksOfKind(UNDERSTUDY_TASKS
                             "WHERE vm = :vm AND kind = :kind " UNDERSTUDY_NEWEST_FIRST,
                             kTaskColumns);
// A row whose arguments are no JSON is left out.
constexpr Query kArguments(
    "SELECT DISTINCT COALESCE(CAST(json_extract(arguments, '$.' || :name) AS TEXT), '')"
    " FROM tasks WHERE vm = :vm AND kind = :kind AND json_valid(arguments)",
    "t");
constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
// A lease is valid while lease_until > now.
constexpr Query kClaimable(UNDERSTUDY_TASKS
                           "WHERE " UNDERSTUDY_ACTIVE
                           "AND ((state = 'queued' AND not_before <= :due)"
                           " OR (state = 'running' AND COALESCE(lease_until, 0) <= :lapsed))"
                           " AND :except NOT LIKE '%,' || kind || ',%'"
                           " AND (:all = 1 OR reads_only = 0)"
                           " AND (vm IS NULL OR reads_only = 1 OR NOT EXISTS (SELECT 1 FROM"
                           " tasks other WHERE other.vm = tasks.vm AND other.state = 'running'"
                           " AND other.reads_only = 0"
                           " AND other.lease_until > :valid AND other.id <> tasks.id))"
                           " ORDER BY not_before, created, ordinal LIMIT 1",
                           kTaskColumns);
#undef UNDERSTUDY_TASKS
#undef UNDERSTUDY_ACTIVE
#undef UNDERSTUDY_NEWEST_FIRST

int read_attempts(Row& row) {
    const std::int64_t attempts = row.number();
    if (attempts < 0 || attempts > std::numeric_limits<int>::max())
        throw BadRow("a task's number of attempts");
    return static_cast<int>(attempts);
}

std::string read_text(Row& row) {
    return row.text();
}

model::Task read_task(Row& row) {
    model::Task task;
    task.id = row.id<TaskId>();
    task.kind = row.text();
    task.vm = row.maybe_id<VmId>();
    task.reads_only = row.flag();
    task.title = row.text();
    task.actor = row.text();
    task.arguments = row.text();
    task.state = Row::valid(model::task_state_from(row.text()));
    task.step = row.text();
    task.memo = row.text();
    task.result = row.text();
    task.progress.done_bytes = row.count();
    task.progress.total_bytes = row.count();
    task.progress.wire_bytes = row.count();
    task.progress.rate_bytes = row.count();
    task.progress.note = row.text();
    task.attempts = read_attempts(row);
    task.error_kind = row.text();
    task.error = row.text();
    task.cancel_requested = row.flag();
    task.created = row.time();
    task.not_before = row.time();
    task.started = row.maybe_time();
    task.ended = row.maybe_time();
    task.lease_node = row.text();
    task.lease_until = row.maybe_time();
    return task;
}

std::unexpected<Error> no_task(const TaskId& id) {
    return fail(ErrorKind::not_found, fmt::format("there is no task {}", id.text()));
}

}  // namespace

Result<> lost_lease(Database& db, const TaskId& id, const std::string& node) {
    const auto task = db.one(kTask, {id}, read_task);
    if (!task) return no_task(id);
    return fail(ErrorKind::conflict,
                task->state == model::TaskState::running
                    ? fmt::format("task {} is run by {} now, no longer by {}", id.text(),
                                  task->lease_node, node)
                    : fmt::format("task {} is {}, no longer run by {}", id.text(),
                                  model::to_string(task->state), node));
}

Result<> SqlCatalog::add_task(const model::Task& task) {
    return db_->write([&]() -> Result<> {
        if (db_->exists({"SELECT 1 FROM tasks WHERE id = :id", "n"}, {task.id}))
            return fail(ErrorKind::conflict, fmt::format("task {} exists", task.id.text()));
        db_->run(
            "INSERT INTO tasks (id, kind, vm, reads_only, title, actor, arguments, state, step,"
            " memo, result, done_bytes, total_bytes, wire_bytes, rate_bytes, note, attempts, "
            "error_kind, "
            "error,"
            " cancel_requested, created, not_before, started, ended, lease_node, lease_until,"
            " ordinal, log_lines) VALUES (:id, :kind, :vm, :reads_only, :title, :actor, :arguments,"
            " :state, :step, :memo, :result, :done, :total, :wire, :rate, :note, :attempts,"
            " :error_kind, :error, :cancel, :created, :not_before, :started, :ended, :node, :until,"
            " (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM tasks), 0)",
            {task.id,
             task.kind,
             task.vm,
             task.reads_only,
             task.title,
             task.actor,
             task.arguments,
             model::to_string(task.state),
             task.step,
             task.memo,
             task.result,
             task.progress.done_bytes,
             task.progress.total_bytes,
             task.progress.wire_bytes,
             task.progress.rate_bytes,
             task.progress.note,
             task.attempts,
             task.error_kind,
             task.error,
             task.cancel_requested,
             task.created,
             task.not_before,
             task.started,
             task.ended,
             task.lease_node,
             task.lease_until});
        return {};
    });
}

Result<model::Task> SqlCatalog::task(const TaskId& id) {
    return db_->read([&]() -> Result<model::Task> {
        auto found = db_->one(kTask, {id}, read_task);
        if (!found) return no_task(id);
        return std::move(*found);
    });
}

Result<std::vector<model::Task>> SqlCatalog::tasks(const ports::TaskFilter& filter) {
    const auto limit = static_cast<std::int64_t>(
        std::min<std::size_t>(filter.limit, std::numeric_limits<std::int32_t>::max()));
    return db_->read([&]() -> Result<std::vector<model::Task>> {
        if (filter.vm)
            return db_->all(filter.active_only ? kActiveTasksOfVm : kTasksOfVm, {*filter.vm, limit},
                            read_task);
        return db_->all(filter.active_only ? kActiveTasks : kTasks, {limit}, read_task);
    });
}

Result<std::vector<model::Task>> SqlCatalog::active_tasks(const std::optional<VmId>& vm) {
    return db_->read([&]() -> Result<std::vector<model::Task>> {
        if (vm) return db_->all(kActiveTasksOfVm, {*vm, kAll}, read_task);
        return db_->all(kActiveTasks, {kAll}, read_task);
    });
}

Result<std::vector<model::Task>> SqlCatalog::unfinished_tasks(const VmId& vm) {
    return db_->read([&]() -> Result<std::vector<model::Task>> {
        return db_->all(kUnfinishedTasks, {vm, kAll}, read_task);
    });
}

Result<std::vector<model::Task>> SqlCatalog::tasks_of_kind(const VmId& vm,
                                                           const std::string& kind) {
    return db_->read([&]() -> Result<std::vector<model::Task>> {
        return db_->all(kTasksOfKind, {vm, kind, kAll}, read_task);
    });
}

Result<std::vector<std::string>> SqlCatalog::task_arguments(const VmId& vm,
                                                            const std::vector<std::string>& kinds,
                                                            const std::string& argument) {
    return db_->read([&]() -> Result<std::vector<std::string>> {
        std::set<std::string> values;
        for (const auto& kind : kinds)
            for (auto& value : db_->all(kArguments, {argument, vm, kind}, read_text))
                values.insert(std::move(value));
        return std::vector<std::string>(values.begin(), values.end());
    });
}

Result<std::optional<model::Task>> SqlCatalog::claim_task(const std::string& node, TimePoint now,
                                                          Duration lease,
                                                          const ports::ClaimExcept& except) {
    std::string kinds = ",";
    for (const auto& kind : except.kinds) kinds += kind + ",";
    return db_->write([&]() -> Result<std::optional<model::Task>> {
        auto task = db_->one(kClaimable, {now, now, kinds, !except.reading, now}, read_task);
        if (!task) return std::nullopt;
        // Another task of this VM may be `running` with a lapsed lease. Nobody runs it, and the
        // schema allows one running task per VM, so it goes back to the queue.
        if (task->vm && !task->reads_only)
            db_->run(
                "UPDATE tasks SET state = 'queued', lease_node = '', lease_until = NULL"
                " WHERE vm = :vm AND state = 'running' AND reads_only = 0 AND id <> :id",
                {*task->vm, task->id});
        task->state = model::TaskState::running;
        task->attempts += 1;
        task->lease_node = node;
        task->lease_until = now + lease;
        if (!task->started) task->started = now;
        task->ended.reset();
        db_->run(
            "UPDATE tasks SET state = 'running', attempts = :attempts, lease_node = :node,"
            " lease_until = :until, started = :started, ended = NULL WHERE id = :id",
            {task->attempts, task->lease_node, task->lease_until, task->started, task->id});
        return task;
    });
}

Result<> SqlCatalog::release_task(const model::Task& outcome, const std::string& node) {
    if (outcome.state == model::TaskState::running)
        return fail(ErrorKind::invalid,
                    fmt::format("task {} cannot be released as running", outcome.id.text()));
    static const std::optional<TimePoint> kNotYet;
    const auto& ended = outcome.ended_already() ? outcome.ended : kNotYet;
    return db_->write([&]() -> Result<> {
        // cancel_requested is not written: the request may have come after `outcome` was made.
        const auto changed = db_->run(
            "UPDATE tasks SET state = :state, step = :step, memo = :memo, result = :result,"
            " done_bytes = :done, total_bytes = :total, wire_bytes = :wire, rate_bytes = :rate,"
            " note = :note, attempts = :attempts, error_kind = :error_kind, error = :error,"
            " not_before = :not_before, ended = :ended, lease_node = '', lease_until = NULL"
            " WHERE id = :id AND state = 'running' AND lease_node = :node",
            {model::to_string(outcome.state), outcome.step, outcome.memo, outcome.result,
             outcome.progress.done_bytes, outcome.progress.total_bytes, outcome.progress.wire_bytes,
             outcome.progress.rate_bytes, outcome.progress.note, outcome.attempts,
             outcome.error_kind, outcome.error, outcome.not_before, ended, outcome.id, node});
        if (changed == 0) return lost_lease(*db_, outcome.id, node);
        return {};
    });
}

Result<> SqlCatalog::request_cancel(const TaskId& id, TimePoint now) {
    return db_->write([&]() -> Result<> {
        const auto task = db_->one(kTask, {id}, read_task);
        if (!task) return no_task(id);
        switch (task->state) {
            case model::TaskState::queued:
                if (!task->started)
                    db_->run(
                        "UPDATE tasks SET state = 'cancelled', cancel_requested = 1, ended = :now"
                        " WHERE id = :id",
                        {now, id});
                else
                    db_->run(
                        "UPDATE tasks SET cancel_requested = 1, not_before = :now WHERE id = :id",
                        {now, id});
                return {};
            case model::TaskState::running:
                db_->run("UPDATE tasks SET cancel_requested = 1 WHERE id = :id", {id});
                return {};
            case model::TaskState::cancelled: return {};
            case model::TaskState::succeeded:
            case model::TaskState::failed: break;
        }
        return fail(ErrorKind::conflict, fmt::format("task {} has {} already", id.text(),
                                                     model::to_string(task->state)));
    });
}

Result<> SqlCatalog::retry_task(const TaskId& id, TimePoint now) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE tasks SET state = 'queued', error_kind = '', error = '', cancel_requested = 0,"
            " not_before = :now, ended = NULL"
            " WHERE id = :id AND state IN ('failed', 'cancelled')",
            {now, id});
        if (changed == 1) return {};
        const auto task = db_->one(kTask, {id}, read_task);
        if (!task) return no_task(id);
        return fail(Error(ErrorKind::conflict,
                          fmt::format("task {} is {}", id.text(), model::to_string(task->state)))
                        .advising("Only a task that failed or was cancelled can be retried."));
    });
}

}  // namespace understudy::catalog
