#include "tasks/queue/turns.hpp"

#include "tasks/queue/kind_names.hpp"

#include <gmock/gmock.h>

namespace understudy::tasks {
namespace {

using nlohmann::json;

constexpr const char* kId = "6f3a0000-0000-4000-8000-000000000001";

model::Task task_of(std::string_view kind, const std::string& step, const json& memo) {
    model::Task task;
    task.id = TaskId::random();
    task.kind = kind;
    task.step = step;
    task.reads_only = kind == kReplicaVerify || kind == kReplicaDrill;
    task.arguments = "{}";
    task.memo = json{{"version", 1}, {"memo", memo}}.dump();
    task.started = TimePoint(Duration(1));
    return task;
}

// Everybody who can be kept waiting, by one letter each.
const std::vector<std::pair<char, Asker>> kAskers{
    {'s', Asker::snapshot}, {'b', Asker::rollback}, {'l', Asker::layers},  {'h', Asker::handover},
    {'r', Asker::resolve},  {'d', Asker::decision}, {'p', Asker::promote}, {'x', Asker::removal},
    {'D', Asker::drill},    {'m', Asker::mending},  {'S', Asker::start},   {'o', Asker::offer},
    {'t', Asker::take_over}};

std::string who_waits_for(const model::Task& task) {
    std::string waiting;
    for (const auto& [letter, asker] : kAskers)
        if (in_the_way_of(asker, task)) waiting += letter;
    return waiting;
}

const json kOwned{{"epoch", 2}, {"owner", kId}, {"phase", "owned"}};
const json kDisks = json::array({{{"target", "vda"}, {"volume", kId}, {"pool", "vms"}}});

struct Row {
    std::string what;
    model::Task task;
    std::string waiting;  // as who_waits_for tells it
};

// The whole table: what a task is doing, and who waits for it.
std::vector<Row> table() {
    std::vector<Row> rows;
    const auto add = [&](std::string what, std::string_view kind, const std::string& step,
                         const json& memo, std::string waiting) {
        rows.push_back({std::move(what), task_of(kind, step, memo), std::move(waiting)});
    };
    add("a snapshot that has not begun", kSnapshotCreate, "", json::object(), "DS");
    add("a snapshot that has to plan anew", kSnapshotCreate, "", {{"disks", kDisks}}, "hdDS");
    add("a snapshot that is planned", kSnapshotCreate, "adopt", {{"disks", kDisks}}, "lhdDS");
    add("a snapshot whose moment has passed", kSnapshotCreate, "commit",
        {{"disks", kDisks}, {"consistency", "crash"}}, "sblhdpxDS");
    add("a removal", kSnapshotRemove, "merge", json::object(), "DS");
    add("a removal whose definition has to follow", kSnapshotRemove, "merge",
        {{"follow", {{kId, {{"target", "vda"}, {"from", "/a"}}}}}}, "lhdDS");
    add("a rollback before it defines", kSnapshotRollback, "go_back", {{"defining", true}}, "DS");
    add("a rollback that has defined the VM", kSnapshotRollback, "settle", json::object(),
        "sbpxDS");
    add("a release", kRelease, "merge_all", json::object(), "DS");
    add("a send", kSend, "transfer", {{"plan", {{"kind", "full"}}}}, "");
    add("a move before its record", kMove, "send_last", json::object(), "DSt");
    add("a move after its record", kMove, "ask", {{"next", kOwned}}, "sbpxDSt");
    add("a move that has left", kMove, "see_it_run", {{"next", kOwned}, {"departed", true}}, "DSt");
    add("a resolve before its decision", kResolve, "check", json::object(), "DSt");
    add("a resolve that has decided", kResolve, "decide", {{"next", kOwned}}, "sbrpxDSt");
    add("a promote before it decides", kPromote, "check", json::object(), "DSt");
    add("a promote that has decided", kPromote, "own", {{"next", kOwned}}, "sbpxDSt");
    add("a drill that waits", kReplicaDrill, "hold", json::object(), "");
    add("a drill that stands on the disks", kReplicaDrill, "rehearse", {{"begun", true}}, "Dm");
    add("a verification", kReplicaVerify, "compare", json::object(), "");
    add("a removal of the replica", kReplicaRemove, "unlist", json::object(), "DSot");
    add("an export", kSnapshotExport, "write", json::object(), "DS");
    return rows;
}

TEST(Turns, are_as_in_the_table) {
    for (const auto& row : table()) EXPECT_EQ(who_waits_for(row.task), row.waiting) << row.what;
}

TEST(Turns, a_task_that_no_worker_has_begun_keeps_no_start_and_no_drill_waiting) {
    for (auto& row : table()) {
        row.task.started.reset();
        const auto waiting = who_waits_for(row.task);
        EXPECT_THAT(waiting, testing::Not(testing::HasSubstr("S"))) << row.what;
        EXPECT_THAT(waiting, testing::Not(testing::HasSubstr("D"))) << row.what;
    }
    auto move = task_of(kMove, "", json::object());
    move.started.reset();
    EXPECT_EQ(who_waits_for(move), "");
}

TEST(Turns, a_part_counts_as_a_task_of_its_kind_until_it_has_a_result) {
    json part{{"kind", "snapshot_create"},
              {"step", "commit"},
              {"memo", {{"disks", kDisks}, {"consistency", "crash"}}}};
    auto move = task_of(kMove, "presend", json::object());
    move.memo = json{{"version", 1}, {"parts", {{"round1", part}}}}.dump();
    EXPECT_EQ(who_waits_for(move), "sblhdpxDSt");
    part["result"] = json::object();
    move.memo = json{{"version", 1}, {"parts", {{"round1", part}}}}.dump();
    EXPECT_EQ(who_waits_for(move), "DSt");
}

TEST(Turns, rows_of_version_0_count_as_they_did) {
    auto move = task_of(kMove, "ask", json::object());
    move.memo = json{{"next", kOwned}, {"attempts_in_vain", 3}, {"was_running", true}}.dump();
    EXPECT_EQ(who_waits_for(move), "sbpxDSt");
    move.memo = json{{"parts",
                      {{"last",
                        {{"kind", "snapshot_create"},
                         {"step", "moment"},
                         {"told", json::object()},
                         {"memo", {{"disks", kDisks}}}}}}}}
                    .dump();
    EXPECT_EQ(who_waits_for(move), "lhdDSt");
}

TEST(Turns, of_a_task_that_cannot_be_read_all_is_possible_that_its_kind_can_do) {
    auto task = task_of(kMove, "ask", json::object());
    for (const char* memo : {"{\"version\":99}", "nonsense", "{\"next\":7}", "[]"}) {
        task.memo = memo;
        EXPECT_EQ(who_waits_for(task), "sblhdpxDSt") << memo;
    }
    auto resolve = task_of(kResolve, "decide", json::object());
    resolve.memo = "nonsense";
    EXPECT_EQ(who_waits_for(resolve), "sblhrdpxDSt");
    auto other = task_of(kSnapshotExport, "write", json::object());
    other.memo = "nonsense";
    EXPECT_EQ(who_waits_for(other), "DS");
    EXPECT_FALSE(doings_of(other).contains(Doing::releases));
    auto drill = task_of(kReplicaDrill, "hold", json::object());
    drill.memo = "nonsense";
    EXPECT_EQ(who_waits_for(drill), "Dm");
}

}  // namespace
}  // namespace understudy::tasks
