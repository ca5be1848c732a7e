#include "tasks/queue/turns.hpp"

#include "tasks/queue/kind_names.hpp"
#include "tasks/records/drill_records.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/records/snapshot_records.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

// What a task is in the middle of is read from its kind, its step and its memo (`doings_of`).
// kRules says who has to wait for it. Nothing is locked: another task may begin right after a look.
// So each task first saves in its memo what it is about to do, and then looks: of two tasks at
// least one sees the other. A crash changes nothing here: the memos say the same afterwards.

namespace understudy::tasks {
namespace {

using Doings = std::set<Doing>;

struct Rule {
    Asker asker;
    Doings waits_for;
    bool begun_only = false;  // only for tasks that a worker has begun
};

const Doings kHalfDone{Doing::has_passed, Doing::departs, Doing::arrives, Doing::redefines};
const Doings kLayers{Doing::has_layers, Doing::follows_merge};

// A task that does one of kHalfDone no longer waits for any other task: it goes on by itself.
const std::vector<Rule>& rules() {
    static const std::vector<Rule> kRules{
        {Asker::snapshot, kHalfDone},
        {Asker::rollback, kHalfDone},
        {Asker::layers, kLayers},
        // A task that gives the VM away records that durably first: no snapshot begins after it. A
        // snapshot that has to plan anew (has_plan) counts, too: its layers are still there.
        {Asker::handover, {Doing::has_layers, Doing::has_plan, Doing::follows_merge}},
        {Asker::resolve, {Doing::decides}},
        {Asker::decision, {Doing::has_layers, Doing::has_plan, Doing::follows_merge}},
        {Asker::promote, kHalfDone},
        {Asker::removal, kHalfDone},
        {Asker::drill, {Doing::changes, Doing::drills}, true},
        {Asker::mending, {Doing::drills}},
        {Asker::start, {Doing::changes}, true},
        {Asker::offer, {Doing::removes_replica}},
        {Asker::take_over, {Doing::removes_replica, Doing::moves, Doing::promotes}},
    };
    return kRules;
}

const Rule& rule_of(Asker asker) {
    return *std::ranges::find(rules(), asker, &Rule::asker);
}

template <Fielded Memo>
Result<Memo> memo_of(const TaskPart& part) {
    return read_record<Memo>(part.memo);
}

Result<> add_snapshot(const TaskPart& part, Doings& doings) {
    const auto memo = UNDERSTUDY_VALUE(memo_of<SnapshotCreateMemo>(part));
    if (!part.step.empty()) doings.insert(Doing::has_layers);
    if (memo.disks) doings.insert(Doing::has_plan);
    if (memo.moment_has_passed()) doings.insert(Doing::has_passed);
    return {};
}

Result<> add_recovery(const TaskPart& part, Doings& doings) {
    if (part.kind == kMove) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<MoveMemo>(part));
        if (memo.next && !memo.departed) doings.insert(Doing::departs);
    } else if (part.kind == kResolve) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<ResolveMemo>(part));
        if (memo.next) doings.insert({Doing::departs, Doing::decides});
    } else if (part.kind == kPromote) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<PromoteMemo>(part));
        if (memo.next) doings.insert(Doing::arrives);
    }
    return {};
}

Result<> add_doings(const TaskPart& part, Doings& doings) {
    if (part.kind == kSnapshotCreate) return add_snapshot(part, doings);
    if (part.kind == kSnapshotRemove) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<SnapshotRemoveMemo>(part));
        if (!memo.follow.empty()) doings.insert(Doing::follows_merge);
    } else if (part.kind == kSnapshotRollback) {
        if (part.step == "settle") doings.insert(Doing::redefines);
    } else if (part.kind == kRelease) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<ReleaseMemo>(part));
        if (memo.merging) doings.insert(Doing::releases);
    } else if (part.kind == kReplicaDrill) {
        const auto memo = UNDERSTUDY_VALUE(memo_of<ReplicaDrillMemo>(part));
        if (memo.begun) doings.insert(Doing::drills);
    } else {
        return add_recovery(part, doings);
    }
    return {};
}

void add_doings_of_kind(const model::Task& task, Doings& doings) {
    if (task.kind != kSend && !task.reads_only) doings.insert(Doing::changes);
    if (task.kind == kMove || task.kind == kResolve) doings.insert(Doing::moves);
    if (task.kind == kPromote) doings.insert(Doing::promotes);
    if (task.kind == kReplicaRemove) doings.insert(Doing::removes_replica);
}

// What a task of this kind, or a part of it, can be in the middle of.
Doings possible_doings(std::string_view kind) {
    const Doings snapshot{Doing::has_layers, Doing::has_plan, Doing::has_passed};
    const auto with_snapshot = [&](Doings doings) {
        doings.insert(snapshot.begin(), snapshot.end());
        return doings;
    };
    if (kind == kSnapshotCreate || kind == kKeepBranch) return snapshot;
    if (kind == kSnapshotRemove) return {Doing::follows_merge};
    if (kind == kSnapshotRollback) return {Doing::redefines};
    if (kind == kRelease) return {Doing::releases};
    if (kind == kMove) return with_snapshot({Doing::departs});
    if (kind == kResolve) return with_snapshot({Doing::departs, Doing::decides});
    if (kind == kPromote) return {Doing::arrives};
    if (kind == kReplicaDrill) return {Doing::drills};
    return {};
}

bool may_snapshot(const model::Task& task) {
    return possible_doings(task.kind).contains(Doing::has_layers);
}

bool counts(const Rule& rule, const model::Task& task, Doing doing) {
    if (doing == Doing::moves) return task.started.has_value();  // one that waits changes nothing
    return !rule.begun_only || task.started;
}

}  // namespace

std::set<Doing> doings_of(const model::Task& task) {
    Doings doings;
    auto parts = parts_of(task);
    Result<> read;
    if (parts)
        for (const auto& part : *parts)
            if (read) read = add_doings(part, doings);
    if (!parts || !read) doings = possible_doings(task.kind);
    add_doings_of_kind(task, doings);
    return doings;
}

std::optional<Doing> in_the_way_of(Asker asker, const model::Task& task) {
    const auto& rule = rule_of(asker);
    const auto doings = doings_of(task);
    for (const auto doing : rule.waits_for)
        if (doings.contains(doing) && counts(rule, task, doing)) return doing;
    return std::nullopt;
}

Result<std::optional<InTheWay>> find_in_the_way(Site& site, const VmId& vm, Asker asker,
                                                const std::optional<TaskId>& asking) {
    const auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(vm));
    for (const auto& task : active) {
        if (task.id == asking) continue;
        if (const auto doing = in_the_way_of(asker, task)) return InTheWay{task, *doing};
    }
    return std::nullopt;
}

Result<> check_turn(Site& site, const VmId& vm, Asker asker, const std::optional<TaskId>& asking) {
    const auto other = UNDERSTUDY_VALUE(find_in_the_way(site, vm, asker, asking));
    if (!other) return {};
    return fail(ErrorKind::conflict, fmt::format("'{}' is not finished", other->task.title));
}

Result<std::optional<model::Task>> find_left(Site& site, const VmId& vm, Doing doing,
                                             const TaskId& asking) {
    const auto tasks = UNDERSTUDY_VALUE(site.catalog.unfinished_tasks(vm));
    for (const auto& task : tasks)
        if (task.id != asking && task.state != model::TaskState::cancelled &&
            doings_of(task).contains(doing))
            return task;
    return std::nullopt;
}

Result<bool> is_being_snapshotted(Site& site, const VmId& vm, const std::string& location) {
    const auto tasks = UNDERSTUDY_VALUE(site.catalog.unfinished_tasks(vm));
    for (const auto& task : tasks) {
        if (!may_snapshot(task)) continue;
        auto parts = parts_of(task);
        if (!parts) return true;  // perhaps
        for (const auto& part : *parts) {
            if (part.kind != kSnapshotCreate) continue;
            const auto memo = memo_of<SnapshotCreateMemo>(part);
            if (!memo) return true;
            if (!memo->heads) continue;
            for (const auto& head : *memo->heads)
                if (head.overlay && head.source.location == location) return true;
        }
    }
    return false;
}

Result<> check_send_turn(Site& site, const model::Task& send, const ClusterId& peer) {
    const auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(send.vm));
    const auto sends_there = [&](const TaskPart& part) {
        if (part.kind != kSend) return false;
        const auto arguments = read_record<SendArguments>(part.arguments);
        return !arguments || arguments->peer == peer;
    };
    bool older = false;  // they come newest first
    for (const auto& task : active) {
        if (older && task.started && !task.cancel_requested) {
            const auto parts = parts_of(task);
            const bool may_send = task.kind == kSend || task.kind == kMove;
            if (parts ? std::ranges::any_of(*parts, sends_there) : may_send)
                return fail(
                    Error(ErrorKind::unavailable, fmt::format("'{}' must end first", task.title))
                        .advising(
                            fmt::format("Let it end, or cancel it: `understudy task cancel {}`.",
                                        task.id.text().substr(0, 8))));
        }
        older = older || task.id == send.id;
    }
    return {};
}

Result<std::set<ClusterId>> peers_of_sends(Site& site, const VmId& vm) {
    const auto texts = UNDERSTUDY_VALUE(
        site.catalog.task_arguments(vm, {std::string(kSend), std::string(kMove)}, "peer"));
    std::set<ClusterId> peers;
    for (const auto& text : texts)
        if (const auto peer = ClusterId::parse(text)) peers.insert(*peer);
    return peers;
}

Result<> cancel_tasks(Site& site, const VmId& vm, std::string_view kind) {
    const auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(vm));
    for (const auto& task : active) {
        if (task.kind != kind) continue;
        auto asked = site.catalog.request_cancel(task.id, site.clock.now());
        if (!asked && asked.error().kind() != ErrorKind::conflict) return asked;  // it has ended
    }
    return {};
}

}  // namespace understudy::tasks
