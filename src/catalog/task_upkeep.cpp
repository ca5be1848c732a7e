#include "catalog/sql_catalog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

// What a worker writes while it runs a task: lease, step and memo, progress; and the task's log.
// Each is one small transaction that changes nothing if the node no longer holds the lease
// (conflict); only the log needs no lease. The log keeps its first 200 lines and its newest 1,800,
// of at most 4 KiB each. After a crash the row has the last step and memo that were saved.

namespace understudy::catalog {
namespace {

// A task's log keeps its first lines, which say what the task was to do, and its newest lines.
constexpr std::int64_t kKeptFirstLines = 200;
constexpr std::int64_t kKeptLines = 2000;
constexpr std::size_t kLineBytes = std::size_t{4} << 10;
constexpr std::string_view kCut = " …";

// Cut between UTF-8 characters: a continuation byte is 10xxxxxx.
std::string bounded_line(const std::string& text) {
    if (text.size() <= kLineBytes) return text;
    std::size_t end = kLineBytes - kCut.size();
    for (int back = 0; back < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80; ++back)
        --end;
    return text.substr(0, end).append(kCut);
}

model::TaskLogLine read_line(Row& row) {
    model::TaskLogLine line;
    line.sequence = row.number();
    line.time = row.time();
    line.text = row.text();
    return line;
}

}  // namespace

Result<> SqlCatalog::renew_lease(const TaskId& id, const std::string& node, TimePoint until) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE tasks SET lease_until = :until"
            " WHERE id = :id AND state = 'running' AND lease_node = :node",
            {until, id, node});
        if (changed == 0) return lost_lease(*db_, id, node);
        return {};
    });
}

Result<> SqlCatalog::save_step(const TaskId& id, const std::string& node, const std::string& step,
                               const std::string& memo) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE tasks SET step = :step, memo = :memo"
            " WHERE id = :id AND state = 'running' AND lease_node = :node",
            {step, memo, id, node});
        if (changed == 0) return lost_lease(*db_, id, node);
        return {};
    });
}

Result<> SqlCatalog::save_progress(const TaskId& id, const std::string& node,
                                   const model::Progress& progress) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE tasks SET done_bytes = :done, total_bytes = :total, wire_bytes = :wire,"
            " rate_bytes = :rate, note = :note"
            " WHERE id = :id AND state = 'running' AND lease_node = :node",
            {progress.done_bytes, progress.total_bytes, progress.wire_bytes, progress.rate_bytes,
             progress.note, id, node});
        if (changed == 0) return lost_lease(*db_, id, node);
        return {};
    });
}

Result<> SqlCatalog::append_log(const TaskId& id, TimePoint time, const std::string& text) {
    const std::string line = bounded_line(text);
    return db_->write([&]() -> Result<> {
        const auto sequence = db_->one(
            {"UPDATE tasks SET log_lines = log_lines + 1 WHERE id = :id RETURNING log_lines", "n"},
            {id}, +[](Row& row) { return row.number(); });
        if (!sequence)
            return fail(ErrorKind::not_found, fmt::format("there is no task {}", id.text()));
        db_->run(
            "INSERT INTO task_log (task, sequence, time, text)"
            " VALUES (:task, :sequence, :time, :text)",
            {id, *sequence, time, line});
        if (*sequence > kKeptLines)
            db_->run("DELETE FROM task_log WHERE task = :task AND sequence = :sequence",
                     {id, *sequence - (kKeptLines - kKeptFirstLines)});
        return {};
    });
}

Result<std::vector<model::TaskLogLine>> SqlCatalog::task_log(const TaskId& id, std::int64_t after,
                                                             std::size_t limit) {
    const auto most = static_cast<std::int64_t>(
        std::min<std::size_t>(limit, std::numeric_limits<std::int32_t>::max()));
    return db_->read([&]() -> Result<std::vector<model::TaskLogLine>> {
        return db_->all({"SELECT sequence, time, text FROM task_log"
                         " WHERE task = :task AND sequence > :after ORDER BY sequence LIMIT :most",
                         "nnt"},
                        {id, after, most}, read_line);
    });
}

}  // namespace understudy::catalog
