#include "cli/wait.hpp"

#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/table.hpp"
#include "cli/values.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

namespace understudy::cli {

using nlohmann::json;

namespace {

// What a signal's handler writes; set while a notice lives.
const char* interrupt_text = nullptr;
std::size_t interrupt_length = 0;

extern "C" void say_and_leave(int) {
    // write and _exit are all that a handler may use here (signal-safety(7)).
    if (interrupt_text != nullptr) {
        const auto written = ::write(STDERR_FILENO, interrupt_text, interrupt_length);
        static_cast<void>(written);
    }
    ::_exit(static_cast<int>(Exit::failed));
}

// While it lives, SIGINT and SIGTERM write `text` to stderr and end the process with exit code 1,
// whatever call is blocked. A signal that was ignored stays ignored. One at a time.
class InterruptNotice {
public:
    explicit InterruptNotice(std::string text) : text_(std::move(text)) {
        interrupt_text = text_.data();
        interrupt_length = text_.size();
        struct sigaction action{};
        action.sa_handler = say_and_leave;
        sigemptyset(&action.sa_mask);
        for (std::size_t i = 0; i < kSignals.size(); ++i) {
            ::sigaction(kSignals[i], nullptr, &before_[i]);
            if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
        }
    }
    ~InterruptNotice() {
        for (std::size_t i = 0; i < kSignals.size(); ++i)
            ::sigaction(kSignals[i], &before_[i], nullptr);
        interrupt_text = nullptr;
    }
    InterruptNotice(const InterruptNotice&) = delete;
    InterruptNotice& operator=(const InterruptNotice&) = delete;

private:
    static constexpr std::array<int, 2> kSignals{SIGINT, SIGTERM};
    std::string text_;
    std::array<struct sigaction, 2> before_{};
};

std::string interrupted(const Context& context, const std::string& id,
                        const std::string& left_over) {
    const std::string advice = fmt::format(
        "`understudy task watch {}` shows it again; `understudy task cancel {}` "
        "stops it.",
        short_id(id), short_id(id));
    std::string text = fmt::format("interrupted while waiting; task {} goes on", short_id(id));
    if (!left_over.empty()) text += "; " + escape(left_over);
    if (!context.json()) return fmt::format("\n{}.\n{}\n", text, advice);
    return dump({{"error", {{"kind", "cancelled"}, {"text", text}, {"advice", advice}}},
                 {"task", id}}) +
           "\n";
}

ProgressStyle style_for(const Context& context) {
    if (context.world().err_is_terminal) return ProgressStyle::bar;
    return context.json() ? ProgressStyle::none : ProgressStyle::lines;
}

bool ended(const json& task) {
    const auto state = find_text(task, "state");
    return state != "queued" && state != "running";
}

// How long the daemon has not been answering, told once.
class Absence {
public:
    Absence(Surroundings& world, ProgressDisplay& display) : world_(world), display_(display) {}

    // Waits a little, or hands the error up when it has lasted too long or is of another kind.
    Result<> endure(Error error, const std::string& id) {
        if (error.kind() != ErrorKind::unavailable) return fail(std::move(error));
        const Duration now = world_.steady_now();
        if (!absent_) {
            absent_ = true;
            since_ = now;
            display_.interject("understudyd does not answer (" + escape(error.step_text()) +
                               "); waiting for it to come back");
        }
        if (now - since_ >= kDaemonAbsence)
            return fail(std::move(error).keeping(
                fmt::format("task {} goes on by itself when understudyd runs again; `understudy "
                            "task watch {}` shows it",
                            short_id(id), short_id(id))));
        world_.pause(std::chrono::seconds(1));
        return {};
    }
    void over() { absent_ = false; }

private:
    Surroundings& world_;
    ProgressDisplay& display_;
    bool absent_ = false;
    Duration since_{};
};

}  // namespace

Result<json> task_of(const json& answer) {
    const json& task = at(answer, "task");
    if (!find_text(task, "id"))
        return fail(ErrorKind::internal, "understudyd's answer names no task");
    return task;
}

Result<json> wait_for_task(const Context& context, const json& task, const std::string& left_over) {
    const std::string id = text_at(task, "id");
    const std::string path = path_of({"v1", "tasks", id});
    auto& world = context.world();
    const InterruptNotice notice(interrupted(context, id, left_over));
    ProgressDisplay display(world, style_for(context));
    Absence absence(world, display);
    display.update(ProgressView::of(task));
    std::optional<std::string> mark;
    for (;;) {
        const Duration began = world.steady_now();
        Call poll{.method = "GET", .path = path, .body = ""};
        if (mark) {
            poll.path += query_of('?', "wait_ms", fmt::format("{}", kLongPoll.count())) +
                         query_of('&', "progress", *mark);
            poll.patience = kLongPoll + kPatience;
        }
        auto answer = context.call(poll);
        if (!answer) {
            UNDERSTUDY_TRY(absence.endure(std::move(answer.error()), id));
            mark.reset();
            continue;
        }
        absence.over();
        auto now = task_of(*answer);
        if (!now) return std::unexpected(std::move(now.error()));
        if (ended(*now)) {
            display.finish(ProgressView::of(*now));
            return answer;
        }
        display.update(ProgressView::of(*now));
        mark = find_text(*answer, "progress_mark").value_or("");
        const Duration took = world.steady_now() - began;
        if (took < kShortestTurn) world.pause(kShortestTurn - took);
    }
}

Result<> outcome_of(const json& task) {
    const auto state = find_text(task, "state");
    if (state == "succeeded") return {};
    const std::string id = short_id(text_at(task, "id"));
    const std::string log = fmt::format("`understudy task log {}` tells how it went.", id);
    if (state == "cancelled")
        return fail(
            Error(ErrorKind::cancelled,
                  fmt::format("{} was cancelled", find_text(task, "title").value_or("task")))
                .advising(log));
    auto text = find_text(task, "error").value_or("");
    if (text.empty()) text = fmt::format("task {} ended as {}", id, text_at(task, "state"));
    const auto kind = base::error_kind_from(find_text(task, "error_kind").value_or(""));
    const bool worth_retrying = kind == ErrorKind::unavailable || kind == ErrorKind::no_space ||
                                kind == ErrorKind::conflict;
    std::string advice = log;
    if (worth_retrying && text.find("task retry") == std::string::npos)
        advice += fmt::format(" `understudy task retry {}` tries again.", id);
    return fail(Error(kind, text).advising(advice));
}

Result<Exit> follow_task(const Context& context, const json& task) {
    auto answer = wait_for_task(context, task);
    if (!answer) return std::unexpected(std::move(answer.error()));
    if (context.json()) context.print_json(*answer);
    const json& last = at(*answer, "task");
    UNDERSTUDY_TRY(outcome_of(last));
    if (!context.json()) report_result(context, last);
    return Exit::done;
}

Result<Exit> run_task(const Context& context, const Call& call) {
    auto answer = context.call(call);
    if (!answer) return std::unexpected(std::move(answer.error()));
    auto task = task_of(*answer);
    if (!task) return std::unexpected(std::move(task.error()));
    if (!context.settings().no_wait) return follow_task(context, *task);
    if (context.json())
        context.print_json(*answer);
    else
        context.say(text_at(*task, "id"));
    return Exit::done;
}

}  // namespace understudy::cli
