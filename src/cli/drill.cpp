#include "cli/context.hpp"
#include "cli/replicas.hpp"
#include "cli/report.hpp"
#include "cli/table.hpp"
#include "cli/values.hpp"
#include "cli/wait.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<json> drill_body(const Arguments& arguments) {
    json body = json::object();
    if (const auto snapshot = arguments.find("snapshot")) {
        const auto name = split_at_snapshot(*snapshot);
        const bool whole = snapshot->starts_with('@') || name.snapshot.empty();
        body["snapshot"] = whole ? *snapshot : name.snapshot;
    }
    for (const char* option : {"wait", "network"})
        if (const auto value = arguments.find(option)) body[option] = *value;
    if (const auto text = arguments.find("timeout")) {
        auto limit = base::parse_duration(*text);
        if (!limit) return fail(std::move(limit.error()).during("--timeout"));
        if (*limit <= Duration(0)) return fail(ErrorKind::invalid, "--timeout must be some time");
        body["limit_ms"] = limit->count();
    }
    return body;
}

Result<json> begin_drill(const Context& context, const std::string& word, const json& body) {
    auto answer = context.call(request("POST", path_of({"v1", "replicas", word, "drill"}), body));
    if (!answer) return std::unexpected(std::move(answer.error()));
    return task_of(*answer);
}

// A guest that does not boot is what the drill found out: it is told on out, and is exit code 1.
Result<bool> end_drill(const Context& context, const json& task, json& tasks) {
    auto answer = wait_for_task(context, task);
    if (!answer) return std::unexpected(std::move(answer.error()));
    const json& last = at(*answer, "task");
    tasks.push_back(last);
    UNDERSTUDY_TRY(outcome_of(last));
    if (!context.json()) report_result(context, last);
    return true_at(at(at(last, "result"), "drill"), "passed");
}

Result<Exit> drill_one(const Context& context, const std::string& word, const json& body) {
    auto task = begin_drill(context, word, body);
    if (!task) return std::unexpected(std::move(task.error()));
    if (context.settings().no_wait) {
        if (context.json())
            context.print_json({{"tasks", json::array({*task})}});
        else
            context.say(text_at(*task, "id"));
        return Exit::done;
    }
    auto tasks = json::array();
    auto passed = end_drill(context, *task, tasks);
    if (context.json()) context.print_json({{"tasks", tasks}});
    if (!passed) return std::unexpected(std::move(passed.error()));
    return *passed ? Exit::done : Exit::failed;
}

struct Begun {
    std::string name;
    json task;
};

// What kept one from being drilled stops none of the others.
class Round {
public:
    Round(const Context& context, const json& body) : context_(context), body_(body) {}

    void begin(const json& replica) {
        const auto name = text_at(replica, "name");
        auto task = begin_drill(context_, text_at(replica, "id"), body_);
        if (!task) return fell_out(name, task.error());
        begun_.push_back({name, std::move(*task)});
        if (context_.settings().no_wait) tasks_.push_back(begun_.back().task);
        if (context_.settings().no_wait && !context_.json())
            context_.say(text_at(begun_.back().task, "id"));
    }
    void wait() {
        for (const auto& drill : begun_) {
            auto passed = end_drill(context_, drill.task, tasks_);
            if (!passed)
                fell_out(drill.name, passed.error());
            else if (!*passed)
                count(drill.name);
        }
    }
    const json& tasks() const { return tasks_; }
    Result<Exit> conclusion(std::size_t all) const {
        if (failures_ == 0) return Exit::done;
        return fail(ErrorKind::internal,
                    fmt::format("{} of {} replicas did not come up: {}", failures_, all, failed_));
    }

private:
    void fell_out(const std::string& name, const Error& error) {
        context_.note(fmt::format("{}: {}", escape(name), escape_lines(error.text())));
        count(name);
    }
    void count(const std::string& name) {
        ++failures_;
        failed_ += (failed_.empty() ? "" : ", ") + name;
    }

    const Context& context_;
    const json& body_;
    std::vector<Begun> begun_;
    json tasks_ = json::array();
    std::string failed_;
    std::size_t failures_ = 0;
};

// All are queued at once; the daemon runs as many side by side as its host has room for.
Result<Exit> drill_all(const Context& context, const json& body,
                       const std::optional<std::string>& peer) {
    auto replicas = replicas_of(context, peer);
    if (!replicas) return fail(std::move(replicas.error()));
    Round round(context, body);
    for (const json& replica : *replicas) round.begin(replica);
    if (replicas->empty())
        context.note(peer ? "No replicas from that peer here." : "No replicas here.");
    if (!context.settings().no_wait) round.wait();
    if (context.json()) context.print_json({{"tasks", round.tasks()}});
    return round.conclusion(replicas->size());
}

Result<Exit> replica_drill(Context& context, const Arguments& arguments) {
    const auto word = arguments.find("VM");
    if (word.has_value() == arguments.has("all"))
        return fail(ErrorKind::invalid, "name a VM, or say --all");
    if (arguments.has("all") && arguments.has("snapshot"))
        return fail(ErrorKind::invalid, "--all drills the newest snapshot of each replica");
    if (arguments.has("peer") && !arguments.has("all"))
        return fail(ErrorKind::invalid, "--peer goes with --all");
    auto body = drill_body(arguments);
    if (!body) return fail(std::move(body.error()));
    if (!word) return drill_all(context, *body, arguments.find("peer"));
    const auto name = split_at_snapshot(*word);
    if (!name.snapshot.empty() && !arguments.has("snapshot")) (*body)["snapshot"] = name.snapshot;
    return drill_one(context, name.snapshot.empty() ? *word : name.vm, *body);
}

}  // namespace

std::vector<CommandSpec> drill_commands() {
    return {
        {"replica drill",
         "Start a copy of a replica, cut off from the network, and see whether it boots",
         "The copy has a name, a UUID and throw-away disks of its own; it is watched until it is "
         "up, and taken away again whatever happens. What arrives for the replica meanwhile is not "
         "disturbed. The time that it took, a screenshot and the end of its console are kept: "
         "`replica info` shows where. Exit code 1 when it did not boot.",
         "understudy replica drill web1 --wait 'console=login:'\n"
         "understudy replica drill --all --peer prod --timeout 10m",
         {{"VM", "the VM's name or UUID, or VM@SNAPSHOT in one word; left out with --all", false,
           false, Names::replica}},
         {{"--all", "", "the newest snapshot of every replica here"},
          {"--peer", "PEER", "with --all: only those whose VM that peer owns", false, Names::peer},
          {"--snapshot", "SNAPSHOT", "which one; the newest when not given", false,
           Names::snapshot},
          {"--wait", "WHAT",
           "agent, console=REGEX, tcp=PORT, tcp=ADDRESS:PORT, or none (that it keeps running is no "
           "proof); when not given, the agent if the VM has a channel for one, else what [drill] "
           "in understudyd.toml says",
           false, Names::words, "agent console= tcp= none"},
          {"--timeout", "TIME", "how long it may take to boot; 5m when not given"},
          {"--network", "NAME",
           "plug its cards into this isolated network or bridge, instead of unplugging them"}},
         replica_drill},
    };
}

}  // namespace understudy::cli
