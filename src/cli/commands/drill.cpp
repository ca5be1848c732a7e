#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/context.hpp"
#include "cli/session/replicas.hpp"
#include "cli/session/report.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

// `replica drill`: the call's body from the options; one replica, queued and waited for; all of
// them, queued at once and waited for in turn; the declaration. When this command is cut off, the
// drills go on in the daemon and clean up after themselves.

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<json> drill_body(const Arguments& arguments) {
    json body = json::object();
    put_snapshot(body, arguments);
    for (const char* option : {"wait", "network"})
        if (const auto value = arguments.find(option)) body[option] = *value;
    UNDERSTUDY_TRY(put_boot_timeout(body, arguments));
    return body;
}

Result<json> queue_drill(const Context& context, const std::string& word, const json& body) {
    auto answer = UNDERSTUDY_VALUE(
        context.call(request("POST", path_of({"v1", "replicas", word, "drill"}), body)));
    return task_of(answer);
}

// Whether the guest came up. If it did not, that is a result, no error: it is printed on out, and
// the exit code is 1.
Result<bool> wait_for_drill(const Context& context, const json& task, json& tasks) {
    auto answer = UNDERSTUDY_VALUE(wait_for_task(context, task));
    const json& last = at(answer, "task");
    tasks.push_back(last);
    UNDERSTUDY_TRY(outcome_of(last));
    if (!context.json()) report_result(context, last);
    return true_at(at(at(last, "result"), "drill"), "passed");
}

Result<Exit> drill_one(const Context& context, const std::string& word, const json& body) {
    auto task = UNDERSTUDY_VALUE(queue_drill(context, word, body));
    if (context.settings().no_wait) {
        if (context.json())
            context.print_json({{"tasks", json::array({task})}});
        else
            context.print_line(text_at(task, "id"));
        return Exit::done;
    }
    auto tasks = json::array();
    auto passed = wait_for_drill(context, task, tasks);
    if (context.json()) context.print_json({{"tasks", tasks}});
    if (!passed) return error_of(passed);
    return *passed ? Exit::done : Exit::failed;
}

struct QueuedDrill {
    std::string name;
    json task;
};

// The drills of all replicas. If one cannot be queued or fails, the others go on.
class DrillRound {
public:
    DrillRound(const Context& context, const json& body) : context_(context), body_(body) {}

    void queue(const json& replica) {
        const auto name = text_at(replica, "name");
        auto task = queue_drill(context_, text_at(replica, "id"), body_);
        if (!task) return report_failure(name, task.error());
        queued_.push_back({name, std::move(*task)});
        if (context_.settings().no_wait) tasks_.push_back(queued_.back().task);
        if (context_.settings().no_wait && !context_.json())
            context_.print_line(text_at(queued_.back().task, "id"));
    }
    void wait_for_all() {
        for (const auto& drill : queued_) {
            auto passed = wait_for_drill(context_, drill.task, tasks_);
            if (!passed)
                report_failure(drill.name, passed.error());
            else if (!*passed)
                count_failure(drill.name);
        }
    }
    const json& tasks() const { return tasks_; }
    Result<Exit> exit_code(std::size_t all) const {
        if (failures_ == 0) return Exit::done;
        return fail(ErrorKind::internal,
                    fmt::format("{} of {} replicas did not come up: {}", failures_, all, failed_));
    }

private:
    void report_failure(const std::string& name, const Error& error) {
        context_.print_note(fmt::format("{}: {}", escape(name), escape_lines(error.text())));
        count_failure(name);
    }
    void count_failure(const std::string& name) {
        ++failures_;
        failed_ += (failed_.empty() ? "" : ", ") + name;
    }

    const Context& context_;
    const json& body_;
    std::vector<QueuedDrill> queued_;
    json tasks_ = json::array();
    std::string failed_;
    std::size_t failures_ = 0;
};

// All are queued at once; the daemon runs as many side by side as its host has room for.
Result<Exit> drill_all(const Context& context, const json& body,
                       const std::optional<std::string>& peer) {
    auto replicas = UNDERSTUDY_VALUE(replicas_of(context, peer));
    DrillRound round(context, body);
    for (const json& replica : replicas) round.queue(replica);
    if (replicas.empty())
        context.print_note(peer ? "No replicas from that peer here." : "No replicas here.");
    if (!context.settings().no_wait) round.wait_for_all();
    if (context.json()) context.print_json({{"tasks", round.tasks()}});
    return round.exit_code(replicas.size());
}

Result<Exit> replica_drill(Context& context, const Arguments& arguments) {
    const auto word = arguments.find("VM");
    if (word.has_value() == arguments.has("all"))
        return fail(ErrorKind::invalid, "name a VM, or use --all");
    if (arguments.has("all") && arguments.has("snapshot"))
        return fail(ErrorKind::invalid, "--all drills the newest snapshot of each replica");
    if (arguments.has("peer") && !arguments.has("all"))
        return fail(ErrorKind::invalid, "--peer can be used only with --all");
    auto body = UNDERSTUDY_VALUE(drill_body(arguments));
    if (!word) return drill_all(context, body, arguments.find("peer"));
    const auto name = split_at_snapshot(*word);
    if (!name.snapshot.empty() && !arguments.has("snapshot")) body["snapshot"] = name.snapshot;
    return drill_one(context, name.snapshot.empty() ? *word : name.vm, body);
}

}  // namespace

std::vector<CommandSpec> drill_commands() {
    return {
        {"replica drill",
         "Start a copy of a replica without a network, and see whether it boots",
         "The copy has its own name, UUID and throw-away disks. It is watched until it is up, and "
         "is removed in every case. Sends to the replica continue meanwhile. The time to boot, a "
         "screenshot and the end of the console are kept; `replica info` shows where. The exit "
         "code is 1 if the copy did not boot.",
         "understudy replica drill web1 --wait 'console=login:'\n"
         "understudy replica drill --all --peer prod --timeout 10m",
         {{.name = "VM",
           .help = "the VM's name or UUID, or VM@SNAPSHOT in one word; left out with --all",
           .required = false,
           .names = Names::replica}},
         {kAllReplicas,
          kOnlyOfPeer,
          kSnapshotOrNewest,
          {.flags = "--wait",
           .value = "WHAT",
           .help = "agent, console=REGEX, tcp=PORT, tcp=ADDRESS:PORT, or none (the copy only has "
                   "to keep running, which proves little). If not given: agent if the VM has a "
                   "channel for it, else what [drill] in understudyd.toml says",
           .names = Names::words,
           .words = "agent console= tcp= none"},
          {"--timeout", "TIME",
           "how long it may take to boot; if not given, what [drill] in understudyd.toml says "
           "(default 5m)"},
          {"--network", "NAME",
           "plug its cards into this isolated network or bridge, instead of unplugging them"}},
         replica_drill},
    };
}

}  // namespace understudy::cli
