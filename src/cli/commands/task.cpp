#include "cli/commands/all_commands.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// The commands of `task`: list, info, watch, cancel, retry, log; then their declarations. They
// look at work and steer it, and start nothing new: cut off, they leave it as it is.

namespace understudy::cli {

using nlohmann::json;

namespace {

std::string progress_text(const json& task) {
    const json& progress = at(task, "progress");
    const auto total = find_number(progress, "total_bytes").value_or(0);
    const auto done = find_number(progress, "done_bytes").value_or(0);
    if (find_text(task, "state") == "running" && total > 0)
        return fmt::format("{:.0f} % of {}",
                           100 * static_cast<double>(done) / static_cast<double>(total),
                           base::format_size(ByteSize(total)));
    return find_text(progress, "note").value_or("");
}

std::string state_text(const json& task) {
    const bool stopping =
        true_at(task, "cancel_requested") && find_text(task, "state") == "running";
    return stopping ? "stopping" : text_at(task, "state");
}

void render_tasks(const Context& context, const json& answer) {
    if (list_at(answer, "tasks").empty())
        return context.print_note(
            "There are no such tasks. `understudy task list --all` shows also tasks that have "
            "ended.");
    Table table;
    for (const char* head : {"ID", "STATE", "WHAT", "CREATED", "PROGRESS"}) table.column(head);
    for (const json& task : list_at(answer, "tasks"))
        table.row({short_id(text_at(task, "id")), state_text(task), text_at(task, "title"),
                   age_at(task, "created", context.world().now()), progress_text(task)});
    context.world().out << table.text() << std::flush;
}

Result<Exit> task_list(Context& context, const Arguments& arguments) {
    std::string path = path_of({"v1", "tasks"});
    char mark = '?';
    if (!arguments.has("all")) {
        path += query_of(mark, "active", "1");
        mark = '&';
    }
    if (const auto vm = arguments.find("vm")) path += query_of(mark, "vm", *vm);
    return context.call_and_print(request("GET", path), render_tasks);
}

std::string task_path(const Arguments& arguments) {
    return path_of({"v1", "tasks", arguments.text("TASK")});
}

void render_task(const Context& context, const json& answer) {
    const json& task = at(answer, "task");
    const auto now = context.world().now();
    Facts facts;
    facts.add("Task", text_at(task, "id"));
    facts.add("What", text_at(task, "title"));
    facts.add("State", state_text(task));
    if (const auto step = find_text(task, "step"); step && !step->empty()) facts.add("Step", *step);
    if (const auto progress = progress_text(task); !progress.empty())
        facts.add("Progress", progress);
    facts.add("Attempts", number_at(task, "attempts"));
    for (const auto& [label, key] :
         {std::pair{"Created", "created"}, {"Started", "started"}, {"Ended", "ended"}})
        if (!at(task, key).is_null()) facts.add(label, moment_at(task, key, now));
    if (const auto node = find_text(task, "lease_node"); node && !node->empty())
        facts.add("Node", *node);
    context.world().out << facts.text();
    if (const auto error = find_text(task, "error"); error && !error->empty())
        context.world().out << fmt::format(
            "\nLast error ({}): {}\n", escape(text_at(task, "error_kind")), escape_lines(*error));
    const json result = at(task, "result");
    if (result.is_object() && !result.empty())
        context.world().out << "\nResult: " << escape_lines(dump(result)) << "\n";
    context.world().out << std::flush;
}

Result<Exit> task_info(Context& context, const Arguments& arguments) {
    return context.call_and_print(request("GET", task_path(arguments)), render_task);
}

Result<Exit> task_watch(Context& context, const Arguments& arguments) {
    auto answer = UNDERSTUDY_VALUE(context.get(task_path(arguments)));
    auto task = UNDERSTUDY_VALUE(task_of(answer));
    return follow_task(context, task);
}

Result<Exit> task_cancel(Context& context, const Arguments& arguments) {
    return context.call_and_print(
        request("POST", task_path(arguments) + "/cancel"),
        [](const Context& c, const json& answer) {
            const json& task = at(answer, "task");
            const auto state = find_text(task, "state");
            if (state == "queued" || state == "running")
                c.print_line(fmt::format(
                    "Asked {} to stop; `understudy task watch {}` shows when it has stopped.",
                    escape(text_at(task, "title")), short_id(text_at(task, "id"))));
            else
                c.print_line(fmt::format("{}: {}.", escape(text_at(task, "title")),
                                         escape(text_at(task, "state"))));
        });
}

Result<Exit> task_retry(Context& context, const Arguments& arguments) {
    return run_task(context, request("POST", task_path(arguments) + "/retry"));
}

// The log in pieces: every line after `sequence`, in order.
class LogReader {
public:
    LogReader(const Context& context, std::string task_path)
        : context_(context), path_(std::move(task_path) + "/log") {}

    // Prints what is new (table), or keeps it for the end (JSON).
    Result<> read_new_lines() {
        for (;;) {
            auto answer = UNDERSTUDY_VALUE(
                context_.get(path_ + query_of('?', "after", fmt::format("{}", after_))));
            const std::uint64_t before = after_;
            for (const json& line : list_at(answer, "lines")) add_line(line);
            if (after_ == before) return {};
        }
    }
    const json& lines() const { return lines_; }

private:
    void add_line(const json& line) {
        const auto sequence = find_number(line, "sequence").value_or(0);
        if (sequence <= after_) return;
        after_ = sequence;
        if (context_.json())
            lines_.push_back(line);
        else
            context_.print_line(fmt::format("{}  {}", escape(text_at(line, "time")),
                                            escape(find_text(line, "text").value_or(""))));
    }

    const Context& context_;
    std::string path_;
    std::uint64_t after_ = 0;
    json lines_ = json::array();
};

Result<Exit> task_log(Context& context, const Arguments& arguments) {
    constexpr Duration kLag = std::chrono::seconds(2);  // between a line and its sight
    const std::string path = task_path(arguments);
    LogReader log(context, path);
    std::optional<std::string> mark;  // none: the first look does not wait
    for (bool running = arguments.has("follow");;) {
        if (running) {
            const Duration began = context.world().steady_now();
            const auto wait = mark ? query_of('?', "wait_ms", fmt::format("{}", kLag.count())) +
                                         query_of('&', "progress", *mark)
                                   : "";
            auto answer = UNDERSTUDY_VALUE(context.get(path + wait));
            mark = find_text(answer, "progress_mark").value_or("");
            const auto state = find_text(at(answer, "task"), "state");
            running = state == "queued" || state == "running";
            const Duration took = context.world().steady_now() - began;
            if (running && took < kShortestPoll) context.world().pause(kShortestPoll - took);
        }
        UNDERSTUDY_TRY(log.read_new_lines());
        if (!running) break;
    }
    if (context.json()) context.print_json({{"lines", log.lines()}});
    return Exit::done;
}

constexpr PositionalSpec kTask{
    .name = "TASK", .help = "the task's id, or at least its first 4 digits", .names = Names::task};

}  // namespace

std::vector<CommandSpec> task_commands() {
    return {
        {"task list",
         "List the tasks that wait or run",
         "",
         "understudy task list --all",
         {},
         {{"--all", "", "also tasks that have ended"},
          {.flags = "--vm", .value = "VM", .help = "only tasks of this VM", .names = Names::vm}},
         task_list},
        {"task info",
         "Show one task: its step, progress, last error and result",
         "",
         "understudy task info 7f3a21b0",
         {kTask},
         {},
         task_info},
        {"task watch",
         "Show a task's progress until it ends",
         "The exit code is that of the task: 0 when it succeeded.",
         "understudy task watch 7f3a21b0",
         {kTask},
         {},
         task_watch},
        {"task cancel",
         "Ask a task to stop; it undoes what it did, or completes what cannot be undone",
         "",
         "understudy task cancel 7f3a21b0",
         {kTask},
         {},
         task_cancel},
        {"task retry",
         "Continue a failed task from where it stopped",
         "",
         "understudy task retry 7f3a21b0",
         {kTask},
         {},
         task_retry},
        {"task log",
         "Print the log of a task, also after its end",
         "",
         "understudy task log 7f3a21b0 --follow",
         {kTask},
         {{"--follow", "", "continue to print until the task ends"}},
         task_log},
    };
}

}  // namespace understudy::cli
