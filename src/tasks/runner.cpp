#include "tasks/runner.hpp"

#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/lease_keeper.hpp"
#include "tasks/roles.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace understudy::tasks {
namespace {

std::size_t index_of_step(const Kind& kind, std::string_view name) {
    for (std::size_t i = 0; i < kind.steps.size(); ++i)
        if (kind.steps[i].name == name) return i;
    return 0;
}

bool past_the_point_of_no_return(const Kind& kind, const model::Task& task) {
    const auto i = index_of_step(kind, task.step);
    return i < kind.steps.size() && kind.steps[i].must_go_on;
}

// Each claim gets a name of its own: an attempt that lost its lease cannot write into the next one,
// not even into one of the same node.
std::string new_holder(Site& site) {
    return fmt::format("{}/{:016x}", site.settings.node, site.random.next());
}

bool held_by_node(const model::Task& task, const std::string& node) {
    return task.lease_node.substr(0, task.lease_node.rfind('/')) == node;
}

// One of a bounded number of places, taken before it is known whether it is needed.
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

// In the memo of a task that has ended for good and has still to clean up: how it ended.
constexpr const char* kOutcome = "outcome";

Result<> outcome_before(Work& work) {
    const auto found = work.memo().find(kOutcome);
    if (found == work.memo().end()) return {};
    const auto kind = base::error_kind_from(text_in(*found, "kind"));
    return fail(Error(kind, text_in(*found, "text")));
}

// Half of something is worse than a long wait: past the point of no return the work goes on by
// itself also when room was made.
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
    auto active = site_.catalog.tasks({std::nullopt, true, 10'000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (auto& task : *active) {
        if (task.state != model::TaskState::running || !held_by_node(task, site_.settings.node))
            continue;
        task.state = model::TaskState::queued;
        task.not_before = site_.clock.now();
        UNDERSTUDY_TRY(site_.catalog.release_task(task, task.lease_node));
        UNDERSTUDY_TRY(site_.catalog.append_log(task.id, site_.clock.now(),
                                                "the daemon ended in the middle; going on"));
    }
    return {};
}

Result<bool> Runner::run_one(ports::ClaimExcept except) {
    if (stopping_) return false;
    Place place(drills_, site_.settings.drill.at_once);
    if (!place.taken()) except.kinds.emplace_back(kReplicaDrill);
    auto claimed = site_.catalog.claim_task(new_holder(site_), site_.clock.now(), kLease, except);
    if (!claimed) return std::unexpected(std::move(claimed.error()));
    if (!*claimed) return false;
    if ((*claimed)->kind != kReplicaDrill) place.leave();
    run(**claimed);
    return true;
}

void Runner::run(model::Task& task) {
    const auto found = kinds_.find(task.kind);
    task.progress.note.clear();  // of an earlier attempt's failure
    LeaseKeeper keeper(site_, task);
    Work work(site_, task, [this, &keeper] { return stopping_ || keeper.lost(); });
    if (found == kinds_.end()) {
        static const Kind kUnknown{"unknown", {}, nullptr, true};
        conclude(work, task, kUnknown,
                 fail(Error(ErrorKind::unsupported,
                            fmt::format("no task of kind '{}' in this version", task.kind))
                          .advising("Update understudyd on this node.")));
        return;
    }
    auto outcome = outcome_before(work);
    if (outcome) outcome = run_steps(work, task, found->second);
    conclude(work, task, found->second, std::move(outcome));
}

Result<> Runner::run_steps(Work& work, model::Task& task, const Kind& kind) {
    for (auto i = index_of_step(kind, task.step); i < kind.steps.size(); ++i) {
        const auto& step = kind.steps[i];
        task.step = step.name;
        UNDERSTUDY_TRY(work.save_memo());
        if (!step.must_go_on) UNDERSTUDY_TRY(work.checkpoint());
        UNDERSTUDY_TRY(run_step(work, step));
    }
    return work.save_memo();
}

void Runner::conclude(Work& work, model::Task& task, const Kind& kind, Result<> outcome) {
    if (!outcome) {
        fall_short(work, task, kind, std::move(outcome.error()));
        return;
    }
    task.state = model::TaskState::succeeded;
    task.result = work.result().dump();
    task.error.clear();
    task.error_kind.clear();
    work.log("done");
    end(work, task);
}

void Runner::fall_short(Work& work, model::Task& task, const Kind& kind, Error error) {
    const bool ended_before = work.memo().contains(kOutcome);  // and has only to clean up
    if (!ended_before) error = std::move(error).during(task.title);
    const bool cancelled = error.kind() == ErrorKind::cancelled;
    if (cancelled && work.stopping()) {
        put_back(work, task, Duration(0));
        return;
    }
    task.error = error.text();
    task.error_kind = to_string(error.kind());
    if (!ended_before) work.log(task.error);
    const auto in_vain = number_in(work.memo(), kInVain) + 1;
    work.memo()[kInVain] = in_vain;
    const bool must_go_on = past_the_point_of_no_return(kind, task);
    const bool passing = !cancelled && !ended_before && is_passing(error, must_go_on);
    if (passing && (must_go_on || in_vain < kMaxAttempts)) {
        if (error.kind() == ErrorKind::conflict && !must_go_on) task.step.clear();  // plan again
        task.progress.note = error.step_text();
        put_back(work, task, retry_pause(in_vain));
        return;
    }
    task.state = cancelled ? model::TaskState::cancelled : model::TaskState::failed;
    const nlohmann::json ended{{"kind", task.error_kind}, {"text", task.error}};
    const bool is_clean = !(cancelled || kind.clean_on_failed) || clean_up(work, task, kind);
    const auto tries = ended_before ? in_vain : 0;  // to clean up
    if (!is_clean && (kind.cleans_until_done || tries < kMaxAttempts)) {
        work.memo()[kOutcome] = ended;
        work.memo()[kInVain] = tries;
        task.progress.note = "clean-up: waiting for what stopped it";
        put_back(work, task, retry_pause(tries + 1));
        return;
    }
    work.moved_on();  // `task retry` has all attempts again
    end(work, task);
}

void Runner::end(Work& work, model::Task& task) {
    work.memo().erase(kOutcome);
    task.memo = work.memo().dump();
    task.ended = site_.clock.now();
    release(task);
    tell_end(task);
}

// What went as it was asked to has an event of its asking already.
void Runner::tell_end(const model::Task& task) {
    if (task.state == model::TaskState::failed)
        record_event(site_, {}, "failed", task.vm, task.error);
    else if (task.state == model::TaskState::succeeded && task.attempts > 1 &&
             task.kind != kReplicaDrill)  // whose own event says what came of it
        record_event(site_, {}, "recovered", task.vm,
                     fmt::format("{}: done, at attempt {}", task.title, task.attempts));
}

void Runner::release(const model::Task& task) {
    auto released = site_.catalog.release_task(task, task.lease_node);
    if (!released) spdlog::warn("task {}: {}", task.id.text(), released.error().text());
    site_.bells->changed.ring();
    site_.bells->queued.ring();  // the next one of this VM may begin
}

void Runner::put_back(Work& work, model::Task& task, Duration pause) {
    task.memo = work.memo().dump();
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
