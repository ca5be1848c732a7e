#include "tasks/work.hpp"

#include "tasks/arguments.hpp"

#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

namespace understudy::tasks {
namespace {

constexpr Duration kProgressEvery{500};
constexpr Duration kCancelLookEvery{250};

std::unique_ptr<nlohmann::json> object_of(const std::string& text) {
    auto parsed = nlohmann::json::parse(text, nullptr, false);
    if (!parsed.is_object()) parsed = nlohmann::json::object();
    return std::make_unique<nlohmann::json>(std::move(parsed));
}

}  // namespace

Work::Work(Site& site, model::Task& task, std::function<bool()> stopping)
    : site_(site),
      task_(task),
      stopping_(std::move(stopping)),
      arguments_(object_of(task.arguments)),
      memo_(object_of(task.memo)),
      result_(object_of(task.result)) {}

Work::Work(Work& whole, std::string part)
    : site_(whole.site_),
      task_(whole.task_),
      whole_(&whole),
      part_(std::move(part)),
      stopping_(whole.stopping_) {
    const auto& record = whole.memo()["parts"][part_];
    arguments_ =
        std::make_unique<nlohmann::json>(record.value("arguments", nlohmann::json::object()));
    memo_ = std::make_unique<nlohmann::json>(record.value("memo", nlohmann::json::object()));
    result_ = std::make_unique<nlohmann::json>(record.value("told", nlohmann::json::object()));
    part_step_ = text_in(record, "step");
}

Work::~Work() = default;

void Work::log(const std::string& text) {
    spdlog::info("task {}: {}", task_.id.text().substr(0, 8), text);
    auto written = site_.catalog.append_log(task_.id, site_.clock.now(), text);
    if (!written) spdlog::warn("task log: {}", written.error().text());
}

void Work::progress(const model::Progress& progress) {
    task_.progress = progress;
    const auto now = site_.clock.monotonic();
    if (now - last_progress_ < kProgressEvery) return;
    last_progress_ = now;
    auto saved = site_.catalog.save_progress(task_.id, task_.lease_node, progress);
    if (!saved) spdlog::warn("task progress: {}", saved.error().text());
    site_.bells->changed.ring();
}

bool Work::interrupted() {
    if (whole_ != nullptr) return whole_->interrupted();
    if (cancelled_ || stopping_()) return true;
    if (ignores_cancel_) return false;
    const auto now = site_.clock.monotonic();
    if (now - last_cancel_look_ < kCancelLookEvery) return false;
    last_cancel_look_ = now;
    auto stored = site_.catalog.task(task_.id);
    if (stored && stored->cancel_requested) cancelled_ = true;
    return cancelled_;
}

Result<> Work::checkpoint() {
    if (!interrupted()) return {};
    return fail(ErrorKind::cancelled,
                stopping_() ? "the daemon is stopping" : "cancelled by the operator");
}

void Work::ignore_cancel() {
    if (whole_ != nullptr) return whole_->ignore_cancel();
    ignores_cancel_ = true;
    cancelled_ = false;
}

void Work::moved_on() {
    if (whole_ != nullptr) return whole_->moved_on();
    memo_->erase(kInVain);
}

void Work::begin_again() {
    (whole_ != nullptr ? part_step_ : task_.step).clear();
    *memo_ = nlohmann::json::object();
}

Result<> run_step(Work& work, const Step& step) {
    const auto& task = work.task();
    const auto name = work.part_.empty()
                          ? fmt::format("{}.{}", task.kind, step.name)
                          : fmt::format("{}.{}.{}", task.kind, work.part_, step.name);
    return run_between_points(work.site().settings.at_point, task.vm, name,
                              [&] { return step.run(work); });
}

Result<> Work::save_memo() {
    if (whole_ != nullptr) {
        auto& record = whole_->memo()["parts"][part_];
        record["step"] = part_step_;
        record["memo"] = *memo_;
        record["told"] = *result_;
        return whole_->save_memo();
    }
    task_.memo = memo_->dump();
    UNDERSTUDY_TRY(site_.catalog.save_step(task_.id, task_.lease_node, task_.step, task_.memo));
    site_.bells->changed.ring();
    return {};
}

}  // namespace understudy::tasks
