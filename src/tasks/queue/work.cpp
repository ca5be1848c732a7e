#include "tasks/queue/work.hpp"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <algorithm>

// An attempt reads the task's row once, works on typed records, and writes the row back whole: at
// the begin of each step, wherever a step asks for it, and at the end. A crash leaves the row as it
// was written last. A part's step and records are in the whole task's row.

namespace understudy::tasks {
namespace {

constexpr Duration kProgressEvery{500};
constexpr Duration kCancelLookEvery{250};

Result<> run_step(Work& work, const Step& step) {
    const auto& task = work.task();
    const auto name = work.part().empty()
                          ? fmt::format("{}.{}", task.kind, step.name)
                          : fmt::format("{}.{}.{}", task.kind, work.part(), step.name);
    return run_between_points(work.site().settings.at_point, task.vm, name,
                              [&] { return step.run(work); });
}

}  // namespace

Result<std::size_t> index_of_step(const Kind& kind, std::string_view name) {
    if (name.empty()) return 0;
    const auto found = std::ranges::find_if(
        kind.steps, [&](const Step& step) { return step.name == name || step.formerly == name; });
    if (found != kind.steps.end()) return static_cast<std::size_t>(found - kind.steps.begin());
    return fail(
        Error(ErrorKind::unsupported,
              fmt::format("a task of kind '{}' has no step '{}' in this version", kind.name, name))
            .keeping("the task, as it is")
            .advising("Update understudyd on this node, then `understudy task retry`."));
}

Work::Work(Site& site, model::Task& task, std::function<bool()> stopping)
    : attempt_(std::make_shared<Attempt>(Attempt{site, task, std::move(stopping), {}})) {}

Work::Work(Work& whole, std::string part) : attempt_(whole.attempt_), part_(std::move(part)) {}

Work::~Work() = default;

Result<> Work::hold(const RecordTypes& types, const nlohmann::json& arguments,
                    const nlohmann::json& memo, const nlohmann::json& result) {
    const auto read = [](RecordTypes::Read how, const nlohmann::json& stored, const char* what,
                         std::unique_ptr<HeldRecord>& into) -> Result<> {
        auto record = how(stored);
        if (!record) return fail(std::move(record.error()).during(what));
        into = std::move(*record);
        return {};
    };
    types_ = types;
    UNDERSTUDY_TRY(read(types.arguments, arguments, "arguments", arguments_));
    UNDERSTUDY_TRY(read(types.memo, memo, "memo", memo_));
    return read(types.result, result, "result", result_);
}

Result<> Work::open(const RecordTypes& types) {
    auto& attempt = *attempt_;
    if (!part_.empty()) {
        const auto& record = attempt.row.parts.at(part_);
        return hold(types, record.arguments, record.memo, record.partial_result);
    }
    attempt.row = UNDERSTUDY_VALUE(read_task_memo(attempt.task));
    const auto arguments = parse_row(attempt.task.arguments);
    if (!arguments) return fail(Error(arguments.error()).during("arguments"));
    const auto result = parse_row(attempt.task.result);
    if (!result) return fail(Error(result.error()).during("result"));
    UNDERSTUDY_TRY(hold(types, *arguments, attempt.row.memo, *result));
    attempt.memo = memo_.get();
    return {};
}

void Work::log(const std::string& text) {
    auto& site = attempt_->site;
    const auto& task = attempt_->task;
    spdlog::info("task {}: {}", task.id.text().substr(0, 8), text);
    auto written = site.catalog.append_log(task.id, site.clock.now(), text);
    if (!written) spdlog::warn("task log: {}", written.error().text());
}

void Work::progress(const model::Progress& progress) {
    auto& attempt = *attempt_;
    attempt.task.progress = progress;
    const auto now = attempt.site.clock.monotonic();
    if (now - last_progress_ < kProgressEvery) return;
    last_progress_ = now;
    auto saved =
        attempt.site.catalog.save_progress(attempt.task.id, attempt.task.lease_node, progress);
    if (!saved) spdlog::warn("task progress: {}", saved.error().text());
    attempt.site.bells->changed.ring();
}

bool Work::interrupted() {
    auto& attempt = *attempt_;
    if (attempt.cancelled || attempt.stopping()) return true;
    if (attempt.ignores_cancel) return false;
    const auto now = attempt.site.clock.monotonic();
    if (now - attempt.last_cancel_look < kCancelLookEvery) return false;
    attempt.last_cancel_look = now;
    auto stored = attempt.site.catalog.task(attempt.task.id);
    if (stored && stored->cancel_requested) attempt.cancelled = true;
    return attempt.cancelled;
}

Result<> Work::checkpoint() {
    if (!interrupted()) return {};
    return fail(ErrorKind::cancelled,
                stopping() ? "the daemon is stopping" : "cancelled by the operator");
}

void Work::ignore_cancel() {
    attempt_->ignores_cancel = true;
    attempt_->cancelled = false;
}

void Work::moved_on() {
    attempt_->row.attempts_without_progress = 0;
}

void Work::begin_again() {
    step().clear();
    auto fresh = types_.memo(nlohmann::json::object());
    UNDERSTUDY_INVARIANT(fresh, "an empty memo is readable");
    memo_ = std::move(*fresh);
    if (!part_.empty()) return;
    attempt_->memo = memo_.get();
    attempt_->row = {};
}

std::string& Work::step() {
    return part_.empty() ? attempt_->task.step : attempt_->row.parts[part_].step;
}

void Work::store_memo() {
    auto& attempt = *attempt_;
    if (!part_.empty()) {
        auto& record = attempt.row.parts[part_];
        record.memo = memo_->write_changes();
        record.partial_result = result_->write_changes();
    }
    if (attempt.memo != nullptr) attempt.row.memo = attempt.memo->write_changes();
    attempt.task.memo = write_task_memo(attempt.row);
}

nlohmann::json Work::written_result() const {
    return result_->write_changes();
}

Result<> Work::save_memo() {
    auto& attempt = *attempt_;
    store_memo();
    UNDERSTUDY_TRY(attempt.site.catalog.save_step(attempt.task.id, attempt.task.lease_node,
                                                  attempt.task.step, attempt.task.memo));
    attempt.site.bells->changed.ring();
    return {};
}

Result<> run_steps(Work& work, const Kind& kind, OnConflict on_conflict) {
    const auto first = UNDERSTUDY_VALUE(index_of_step(kind, work.step()));
    for (auto i = first; i < kind.steps.size(); ++i) {
        const auto& step = kind.steps[i];
        work.step() = step.name;
        UNDERSTUDY_TRY(work.save_memo());
        if (!step.must_go_on) UNDERSTUDY_TRY(work.checkpoint());
        auto done = run_step(work, step);
        if (done) continue;
        const bool conflict = done.error().kind() == ErrorKind::conflict && !step.must_go_on;
        if (conflict && on_conflict == OnConflict::plan_again) {
            work.step().clear();
            UNDERSTUDY_TRY(work.save_memo());
        }
        return done;
    }
    return work.save_memo();
}

}  // namespace understudy::tasks
