#include "cli/session/wait.hpp"

#include "cli/session/report.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

// A task from its call to its end: Ctrl-C while waiting; a daemon that does not answer for a
// while; the long poll; the outcome as an error; and the usual sequence of all these, run_task().
// The task itself goes on in the daemon however this ends.

namespace understudy::cli {

using nlohmann::json;

namespace {

// What a signal's handler writes; set while a notice lives.
const char* interrupt_text = nullptr;
std::size_t interrupt_length = 0;

extern "C" void write_notice_and_exit(int) {
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
        action.sa_handler = write_notice_and_exit;
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

std::string notice_text(const Context& context, const std::string& id,
                        const std::string& not_begun) {
    const std::string advice = fmt::format(
        "`understudy task watch {}` shows it again; `understudy task cancel {}` "
        "stops it.",
        short_id(id), short_id(id));
    std::string text = fmt::format("interrupted while waiting; task {} continues", short_id(id));
    if (!not_begun.empty()) text += "; " + escape(not_begun);
    if (!context.json()) return fmt::format("\n{}.\n{}\n", text, advice);
    return dump({{"error", {{"kind", "cancelled"}, {"text", text}, {"advice", advice}}},
                 {"task", id}}) +
           "\n";
}

ProgressStyle style_for(const Context& context) {
    if (context.world().err_is_terminal) return ProgressStyle::bar;
    return context.json() ? ProgressStyle::none : ProgressStyle::lines;
}

bool has_ended(const json& task) {
    const auto state = find_text(task, "state");
    return state != "queued" && state != "running";
}

// Since when the daemon has not answered. Says once that it does not.
class DaemonAbsence {
public:
    DaemonAbsence(Surroundings& world, ProgressDisplay& display)
        : world_(world), display_(display) {}

    // Waits a second; or returns the error, if it is of another kind or the daemon is away too
    // long.
    Result<> wait_or_give_up(Error error, const std::string& id) {
        if (error.kind() != ErrorKind::unavailable) return fail(std::move(error));
        const Duration now = world_.steady_now();
        if (!absent_) {
            absent_ = true;
            since_ = now;
            display_.print_above("understudyd does not answer (" + escape(error.step_text()) +
                                 "); waiting for it to come back");
        }
        if (now - since_ >= kLongestAbsence)
            return fail(std::move(error).keeping(
                fmt::format("task {} continues without this command when understudyd runs again; "
                            "`understudy task watch {}` shows it",
                            short_id(id), short_id(id))));
        world_.pause(std::chrono::seconds(1));
        return {};
    }
    void daemon_answered() { absent_ = false; }

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
        return fail(ErrorKind::internal, "understudyd's answer does not contain a task");
    return task;
}

Result<json> wait_for_task(const Context& context, const json& task, const std::string& not_begun) {
    const std::string id = text_at(task, "id");
    const std::string path = path_of({"v1", "tasks", id});
    auto& world = context.world();
    const InterruptNotice notice(notice_text(context, id, not_begun));
    ProgressDisplay display(world, style_for(context));
    DaemonAbsence absence(world, display);
    display.update(ProgressView::of(task));
    std::optional<std::string> mark;
    for (;;) {
        const Duration began = world.steady_now();
        Call poll{.method = "GET", .path = path, .body = ""};
        if (mark) {
            poll.path += query_of('?', "wait_ms", fmt::format("{}", kLongPoll.count())) +
                         query_of('&', "progress", *mark);
            poll.timeout = kLongPoll + kCallTimeout;
        }
        auto answer = context.call(poll);
        if (!answer) {
            UNDERSTUDY_TRY(absence.wait_or_give_up(std::move(answer.error()), id));
            mark.reset();
            continue;
        }
        absence.daemon_answered();
        auto now = UNDERSTUDY_VALUE(task_of(*answer));
        if (has_ended(now)) {
            display.finish(ProgressView::of(now));
            return answer;
        }
        display.update(ProgressView::of(now));
        mark = find_text(*answer, "progress_mark").value_or("");
        const Duration took = world.steady_now() - began;
        if (took < kShortestPoll) world.pause(kShortestPoll - took);
    }
}

Result<> outcome_of(const json& task) {
    const auto state = find_text(task, "state");
    if (state == "succeeded") return {};
    const std::string id = short_id(text_at(task, "id"));
    const std::string log = fmt::format("`understudy task log {}` shows what it did.", id);
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
    auto answer = UNDERSTUDY_VALUE(wait_for_task(context, task));
    if (context.json()) context.print_json(answer);
    const json& last = at(answer, "task");
    UNDERSTUDY_TRY(outcome_of(last));
    if (!context.json()) report_result(context, last);
    return Exit::done;
}

Result<Exit> run_task(const Context& context, const Call& call) {
    auto answer = UNDERSTUDY_VALUE(context.call(call));
    auto task = UNDERSTUDY_VALUE(task_of(answer));
    if (!context.settings().no_wait) return follow_task(context, task);
    if (context.json())
        context.print_json(answer);
    else
        context.print_line(text_at(task, "id"));
    return Exit::done;
}

}  // namespace understudy::cli
