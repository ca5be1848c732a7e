#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/session/context.hpp"
#include "cli/session/report.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `replica verify`: the call's body, a task followed over its repair and the comparison after
// that, one replica or all of them in turn, the declaration. Cut off, the task that runs goes on
// in the daemon; with --all the later ones are not begun.

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<json> verify_body(const Arguments& arguments) {
    json body{{"repair", arguments.has("repair")}};
    put_snapshot(body, arguments);
    UNDERSTUDY_TRY(put_rate(body, arguments, "rate"));
    return body;
}

// A comparison, and what it leads to: a repair, and the comparison after that.
Result<> wait_with_repairs(const Context& context, json task, json& tasks) {
    while (true) {
        auto answer = UNDERSTUDY_VALUE(wait_for_task(context, task));
        const json last = at(answer, "task");
        tasks.push_back(last);
        UNDERSTUDY_TRY(outcome_of(last));
        if (!context.json()) report_result(context, last);
        const auto next = find_text(at(last, "result"), "next");
        if (!next) return {};
        task = json{{"id", *next}, {"state", "queued"}};
    }
}

Result<> verify_one(const Context& context, const std::string& word, const json& body,
                    json& tasks) {
    auto answer = UNDERSTUDY_VALUE(
        context.call(request("POST", path_of({"v1", "replicas", word, "verify"}), body)));
    auto task = UNDERSTUDY_VALUE(task_of(answer));
    if (!context.settings().no_wait) return wait_with_repairs(context, task, tasks);
    tasks.push_back(task);
    if (!context.json()) context.print_line(text_at(task, "id"));
    return {};
}

// One replica after the other, because they would only slow each other down at the disks. If one
// fails, the others go on.
Result<> verify_all(const Context& context, const json& body, json& tasks) {
    auto answer = UNDERSTUDY_VALUE(context.get(path_of({"v1", "replicas"})));
    std::string failed;
    std::size_t failures = 0;
    ErrorKind kind = ErrorKind::corrupt;
    const auto& replicas = list_at(answer, "replicas");
    for (const json& replica : replicas) {
        auto verified = verify_one(context, text_at(replica, "id"), body, tasks);
        if (verified) continue;
        const auto name = text_at(replica, "name");
        context.print_note(
            fmt::format("{}: {}", escape(name), escape_lines(verified.error().text())));
        if (failures++ == 0 || verified.error().kind() == ErrorKind::corrupt)
            kind = verified.error().kind();
        failed += (failed.empty() ? "" : ", ") + name;
    }
    if (replicas.empty()) context.print_note("No replicas here.");
    if (failures == 0) return {};
    return fail(kind, fmt::format("{} of {} replicas are not proven to be as their source: {}",
                                  failures, replicas.size(), failed));
}

Result<Exit> replica_verify(Context& context, const Arguments& arguments) {
    const auto word = arguments.find("VM");
    if (word.has_value() == arguments.has("all"))
        return fail(ErrorKind::invalid, "name a VM, or use --all");
    if (arguments.has("all") && arguments.has("snapshot"))
        return fail(ErrorKind::invalid, "--all verifies the newest snapshot of each replica");
    auto body = UNDERSTUDY_VALUE(verify_body(arguments));
    auto tasks = json::array();
    auto verified =
        word ? verify_one(context, *word, body, tasks) : verify_all(context, body, tasks);
    if (context.json()) context.print_json({{"tasks", tasks}});
    if (!verified) return error_of(verified);
    return Exit::done;
}

}  // namespace

std::vector<CommandSpec> verify_commands() {
    return {
        {"replica verify",
         "Prove that a replica equals its source, byte for byte",
         "Both clusters compute digests of the snapshot's disks and compare them; a few bytes per "
         "MiB travel. The command names the ranges that differ, and exits with 1. --repair fetches "
         "these ranges from the source and compares again.",
         "understudy replica verify web1\nunderstudy replica verify --all --rate 50MiB",
         {{.name = "VM",
           .help = "the VM's name or UUID; left out with --all",
           .required = false,
           .names = Names::replica}},
         {{"--all", "", "the newest snapshot of every replica here, one after the other"},
          kSnapshotOrNewest,
          {"--repair", "", "repair what differs"},
          {"--rate", "RATE", "bytes of disk read per second, on each side, such as 50MiB"}},
         replica_verify},
    };
}

}  // namespace understudy::cli
