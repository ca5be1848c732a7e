#include "tasks/queue/runner.hpp"

#include "tasks/queue/events.hpp"
#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/lease_keeper.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

// Runs one task: claims it, reads its row, runs its steps from where it was, and decides by the
// error's kind what follows: another attempt after a pause, a new plan, or its end and clean-up. A
// row that cannot be read ends the task and is not changed. A crash leaves the task as `running`:
// recover() queues this node's tasks again at the next start, and other nodes claim them when their
// lease has lapsed. The step that was running is then run again from its beginning.

namespace understudy::tasks {
namespace {

bool past_the_point_of_no_return(const Kind& kind, const model::Task& task) {
    const auto i = index_of_step(kind, task.step);
    return i && *i < kind.steps.size() && kind.steps[*i].must_go_on;
}

Result<> check_step(const Kind& kind, std::string_view step) {
    auto known = index_of_step(kind, step);
    if (!known) return error_of(known);
    return {};
}

// Each claim gets a name of its own: an attempt that lost its lease cannot write into the next one,
// not even into one of the same node.
std::string new_holder(Site& site) {
    return fmt::format("{}/{:016x}", site.settings.node, site.random.next());
}

bool held_by_node(const model::Task& task, const std::string& node) {
    return task.lease_node.substr(0, task.lease_node.rfind('/')) == node;
}

// One of a limited number of places. It is taken before a task is claimed: only after the claim is
// it known whether the task needs it.
class Place {
public:
    Place(std::atomic<std::size_t>& used, std::size_t all) : used_(used) {
        taken_ = used_.fetch_add(1) < all;
        if (!taken_) used_.fetch_sub(1);
    }
    ~Place() { leave(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    bool taken() const { return taken_; }
    void leave() {
        if (std::exchange(taken_, false)) used_.fetch_sub(1);
    }

private:
    std::atomic<std::size_t>& used_;
    bool taken_ = false;
};

// How the task ended, if only its clean-up is left.
Result<> outcome_before(Work& work) {
    const auto& ended = work.row().ended_as;
    if (!ended) return {};
    return fail(Error(base::error_kind_from(ended->kind), ended->text));
}

// Whether another attempt may succeed. A step that must go on also waits for free space: stopping
// there would leave half of something.
bool is_passing(const Error& error, bool must_go_on) {
    return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::conflict ||
           (must_go_on && error.kind() == ErrorKind::no_space);
}

}  // namespace

Duration retry_pause(std::uint64_t attempts) {
    const auto doublings = std::clamp<std::uint64_t>(attempts, 1, 20) - 1;
    return std::min(Duration(1000) * (1 << doublings), Duration(300'000));
}

model::Task new_task(Site& site, std::string_view kind, std::optional<VmId> vm, std::string title,
                     const nlohmann::json& arguments) {
    model::Task task;
    task.id = site.random.id<TaskId>();
    task.kind = kind;
    task.vm = vm;
    task.reads_only = kind == kReplicaVerify || kind == kReplicaDrill;
    task.title = std::move(title);
    task.arguments = arguments.dump();
    task.memo = "{}";
    task.result = "{}";
    task.created = task.not_before = site.clock.now();
    return task;
}

Runner::Runner(Site& site, std::vector<Kind> kinds) : site_(site) {
    for (auto& kind : kinds) {
        const std::string name(kind.name);
        kinds_.emplace(name, std::move(kind));
    }
}

Result<> Runner::recover() {
    auto active = UNDERSTUDY_VALUE(site_.catalog.active_tasks(std::nullopt));
    for (auto& task : active) {
        if (task.state != model::TaskState::running || !held_by_node(task, site_.settings.node))
            continue;
        task.state = model::TaskState::queued;
        task.not_before = site_.clock.now();
        UNDERSTUDY_TRY(site_.catalog.release_task(task, task.lease_node));
        UNDERSTUDY_TRY(site_.catalog.append_log(
            task.id, site_.clock.now(),
            "the daemon ended in the middle of the task; the task continues"));
    }
    return {};
}

Result<bool> Runner::run_one(ports::ClaimExcept except) {
    if (stopping_) return false;
    Place place(drills_, site_.settings.drill.at_once);
    if (!place.taken()) except.kinds.emplace_back(kReplicaDrill);
    auto claimed = UNDERSTUDY_VALUE(
        site_.catalog.claim_task(new_holder(site_), site_.clock.now(), kLease, except));
    if (!claimed) return false;
    if (claimed->kind != kReplicaDrill) place.leave();
    run(*claimed);
    return true;
}

void Runner::run(model::Task& task) {
    const auto found = kinds_.find(task.kind);
    task.progress.note.clear();  // of an earlier attempt's failure
    LeaseKeeper keeper(site_, task);
    Work work(site_, task, [this, &keeper] { return stopping_ || keeper.lost(); });
    if (found == kinds_.end()) {
        end_unread(work, task,
                   Error(ErrorKind::unsupported,
                         fmt::format("this version does not know tasks of kind '{}'", task.kind))
                       .advising("Update understudyd on this node."));
        return;
    }
    const auto& kind = found->second;
    auto readable = work.open(kind.records);
    if (readable) readable = check_step(kind, task.step);
    if (readable) readable = check_parts(work);
    if (!readable) {
        end_unread(work, task, std::move(readable.error()));
        return;
    }
    auto outcome = outcome_before(work);
    if (outcome) outcome = run_steps(work, kind, OnConflict::hand_up);
    conclude(work, task, kind, std::move(outcome));
}

// Before anything is done: a part that this version cannot read is found when the whole can still
// be left as it is.
Result<> Runner::check_parts(Work& work) {
    for (const auto& [name, record] : work.row().parts) {
        if (record.result) continue;
        const auto kind = kinds_.find(record.kind);
        if (kind == kinds_.end())
            return fail(
                Error(ErrorKind::unsupported,
                      fmt::format("part '{}': this version does not know tasks of kind '{}'", name,
                                  record.kind))
                    .advising("Update understudyd on this node."));
        UNDERSTUDY_TRY(check_step(kind->second, record.step));
        Work part(work, name);
        auto readable = part.open(kind->second.records);
        if (!readable)
            return fail(std::move(readable.error()).during(fmt::format("part '{}'", name)));
    }
    return {};
}

// What such a task has done so far is not known: nothing is undone and its row is kept, so that a
// version that can read it goes on.
void Runner::end_unread(Work& work, model::Task& task, Error error) {
    error = std::move(error).during(task.title);
    task.state = task.cancel_requested ? model::TaskState::cancelled : model::TaskState::failed;
    task.error = error.text();
    task.error_kind = to_string(error.kind());
    work.log(task.error);
    task.ended = site_.clock.now();
    release(task);
    record_end_event(task);
}

void Runner::conclude(Work& work, model::Task& task, const Kind& kind, Result<> outcome) {
    if (!outcome) {
        handle_failure(work, task, kind, std::move(outcome.error()));
        return;
    }
    task.state = model::TaskState::succeeded;
    task.result = work.written_result().dump();
    task.error.clear();
    task.error_kind.clear();
    work.log("done");
    end(work, task);
}

void Runner::handle_failure(Work& work, model::Task& task, const Kind& kind, Error error) {
    auto& row = work.row();
    const bool ended_before = row.ended_as.has_value();  // and has only to clean up
    if (!ended_before) error = std::move(error).during(task.title);
    const bool cancelled = error.kind() == ErrorKind::cancelled;
    if (cancelled && work.stopping()) {
        put_back(work, task, Duration(0));
        return;
    }
    task.error = error.text();
    task.error_kind = to_string(error.kind());
    if (!ended_before) work.log(task.error);
    const auto attempts = ++row.attempts_without_progress;
    const bool must_go_on = past_the_point_of_no_return(kind, task);
    const bool passing = !cancelled && !ended_before && is_passing(error, must_go_on);
    if (passing && (must_go_on || attempts < kMaxAttempts)) {
        if (error.kind() == ErrorKind::conflict && !must_go_on) task.step.clear();  // plan again
        task.progress.note = error.step_text();
        put_back(work, task, retry_pause(attempts));
        return;
    }
    task.state = cancelled ? model::TaskState::cancelled : model::TaskState::failed;
    clean_up_and_end(work, task, kind, ended_before ? attempts : 0);
}

// `tries`: attempts at the clean-up before this one.
void Runner::clean_up_and_end(Work& work, model::Task& task, const Kind& kind,
                              std::uint64_t tries) {
    const EndedAs ended{task.error_kind, task.error};
    const bool cancelled = task.state == model::TaskState::cancelled;
    const bool is_clean = !(cancelled || kind.clean_on_failed) || clean_up(work, task, kind);
    if (!is_clean && (kind.cleans_until_done || tries < kMaxAttempts)) {
        work.row().ended_as = ended;
        work.row().attempts_without_progress = tries;
        task.progress.note = "clean-up: waits until the cause of its failure is gone";
        put_back(work, task, retry_pause(tries + 1));
        return;
    }
    work.moved_on();  // `task retry` has all attempts again
    end(work, task);
}

void Runner::end(Work& work, model::Task& task) {
    work.row().ended_as.reset();
    work.store_memo();
    task.ended = site_.clock.now();
    release(task);
    record_end_event(task);
}

// Only failures and tasks that needed more than one attempt: any other has an event from when it
// was asked for.
void Runner::record_end_event(const model::Task& task) {
    if (task.state == model::TaskState::failed)
        record_event(site_, {}, "failed", task.vm, task.error);
    else if (task.state == model::TaskState::succeeded && task.attempts > 1 &&
             task.kind != kReplicaDrill)  // whose own event says what came of it
        record_event(site_, {}, "recovered", task.vm,
                     fmt::format("{}: done in attempt {}", task.title, task.attempts));
}

void Runner::release(const model::Task& task) {
    auto released = site_.catalog.release_task(task, task.lease_node);
    if (!released) spdlog::warn("task {}: {}", task.id.text(), released.error().text());
    site_.bells->changed.ring();
    site_.bells->queued.ring();  // the next one of this VM may begin
}

void Runner::put_back(Work& work, model::Task& task, Duration pause) {
    work.store_memo();
    task.state = model::TaskState::queued;
    task.not_before = site_.clock.now() + pause;
    release(task);
}

bool Runner::clean_up(Work& work, model::Task& task, const Kind& kind) {
    if (kind.on_failure == nullptr) return true;
    work.ignore_cancel();
    auto cleaned = kind.on_failure(work);
    if (cleaned) return true;
    work.log("clean-up: " + cleaned.error().text());
    task.error += ". Clean-up did not finish: " + cleaned.error().text();
    const bool stopped = cleaned.error().kind() == ErrorKind::cancelled;
    return !stopped && !is_passing(cleaned.error(), false);
}

}  // namespace understudy::tasks
