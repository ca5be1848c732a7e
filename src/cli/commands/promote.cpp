#include "cli/commands/promote.hpp"

#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `replica promote`: the call's body from the options (also for promote_several.cpp), the preview
// of one VM, its promote, the declaration. Before the question nothing is changed; after the POST
// the task goes on in the daemon, whatever becomes of this command.

namespace understudy::cli {

using nlohmann::json;

Result<json> promote_body(const Arguments& arguments) {
    json body{{"start", !arguments.has("no-start")}, {"accept", arguments.all("accept")}};
    if (arguments.has("even-if-owner-answers")) body["owner_may_answer"] = true;
    const bool checks = arguments.has("check");
    if (checks && arguments.has("no-start"))
        return fail(ErrorKind::invalid, "--check needs a start; it cannot be used with --no-start");
    for (const char* option : {"wait", "timeout"})
        if (!checks && arguments.has(option))
            return fail(ErrorKind::invalid,
                        fmt::format("--{} can be used only with --check", option));
    if (!checks) return body;
    body["check"] = true;
    if (const auto what = arguments.find("wait")) body["wait"] = *what;
    UNDERSTUDY_TRY(put_boot_timeout(body, arguments));
    return body;
}

namespace {

std::string preview_text(const json& promotion, TimePoint now) {
    const json& snapshot = at(promotion, "snapshot");
    Facts facts;
    facts.add("Promote", text_at(promotion, "vm"));
    facts.add("From snapshot",
              fmt::format("{}, taken {}, {} consistent", text_at(snapshot, "name"),
                          text_at(snapshot, "taken"), text_at(snapshot, "consistency")));
    facts.add("Would be lost", fmt::format("all that was written since then ({})",
                                           duration_at(promotion, "age_ms")));
    facts.add("Owner until now", text_at(promotion, "owner_name"));
    facts.add("Last contact", moment_at(promotion, "last_contact", now));
    facts.add("New epoch", number_at(promotion, "epoch"));
    std::string text = facts.text();
    if (!list_at(promotion, "changes").empty()) text += "\nChanged in its definition:\n";
    for (const json& change : list_at(promotion, "changes"))
        text += fmt::format("  {}\n", change.is_string() ? escape(change.get<std::string>())
                                                         : std::string(kUnknown));
    if (!list_at(promotion, "issues").empty())
        text += "\nStarting here:\n" + issue_lines(list_at(promotion, "issues"));
    return text;
}

// VM with --snapshot, or VM@SNAPSHOT.
SnapshotName promoted_name(const Arguments& arguments) {
    const auto option = arguments.find("snapshot");
    if (!option) return split_at_snapshot(arguments.text("VM"));
    return SnapshotName{arguments.text("VM"), snapshot_of_word(*option)};
}

Result<Exit> promote_one(Context& context, const Arguments& arguments) {
    auto body = UNDERSTUDY_VALUE(promote_body(arguments));
    const auto name = promoted_name(arguments);
    const bool dry_run = arguments.has("dry-run");
    if (!dry_run) UNDERSTUDY_TRY(check_can_ask(context, "replica promote"));
    const std::string path = path_of({"v1", "replicas", name.vm, "promote"});
    auto preview = UNDERSTUDY_VALUE(context.get(
        path + (name.snapshot.empty() ? "" : query_of('?', "snapshot", name.snapshot))));
    const json& promotion = at(preview, "promotion");
    const std::string text = preview_text(promotion, context.world().now());
    if (dry_run) {
        if (context.json())
            context.print_json(preview);
        else
            context.world().out << text << std::flush;
        return Exit::done;
    }
    if (!name.snapshot.empty()) body["snapshot"] = name.snapshot;
    if (context.settings().yes) {
        context.print_note(text);
    } else {
        context.world().err << text << kOwnerLosesVm << "\n\n";
        UNDERSTUDY_TRY(confirm_by_name(context, text_at(promotion, "vm")));
        // The operator said yes to the snapshot that was shown, also if a newer one arrived
        // meanwhile.
        if (const auto id = find_text(at(promotion, "snapshot"), "id")) body["snapshot"] = *id;
    }
    return run_task(context, request("POST", path, body));
}

Result<Exit> replica_promote(Context& context, const Arguments& arguments) {
    const auto names = arguments.all("VM");
    const bool all = arguments.has("all");
    if (names.empty() != all) return fail(ErrorKind::invalid, "name one VM or more, or use --all");
    if (arguments.has("peer") && !all)
        return fail(ErrorKind::invalid, "--peer can be used only with --all");
    if (arguments.has("snapshot") && names.size() != 1)
        return fail(Error(ErrorKind::invalid, "--snapshot can be used only with one VM")
                        .advising("For several VMs, name each one as VM@SNAPSHOT."));
    return names.size() == 1 ? promote_one(context, arguments)
                             : promote_several(context, arguments);
}

}  // namespace

std::vector<CommandSpec> promote_commands() {
    return {
        {"replica promote",
         "Take over replicas: own their VMs here and start them (asks first)",
         "Use this when their cluster is lost. The command shows what will be lost. Then you type "
         "the VM's name, or, for several VMs, their number; -y asks for nothing. Several VMs are "
         "queued and continue without this command, as many at a time as understudyd has workers. "
         "If one fails, the others continue. A VM that is not ready stays a replica.",
         "understudy replica promote web1 --dry-run\nunderstudy replica promote web1 --check\n"
         "understudy replica promote --all --peer prod",
         {{.name = "VM",
           .help = "the VMs' names or UUIDs, or VM@SNAPSHOT in one word; left out with --all",
           .required = false,
           .repeats = true,
           .names = Names::replica}},
         {kAllReplicas,
          kOnlyOfPeer,
          kSnapshotOrNewest,
          {"--no-start", "", "take it over but do not start it"},
          {"--check", "",
           "watch it until it is up, and fail if it does not come up; the VM continues to run in "
           "any case"},
          {.flags = "--wait",
           .value = "WHAT",
           .help = "with --check: agent, tcp=PORT, tcp=ADDRESS:PORT, or none (the VM only has to "
                   "keep running, which proves little). If not given: agent if the VM has a "
                   "channel for it, else none",
           .names = Names::words,
           .words = "agent tcp= none"},
          {"--timeout", "TIME",
           "with --check: how long it may take to boot; if not given, what [drill] in "
           "understudyd.toml says (default 5m)"},
          kAcceptKey,
          {"--even-if-owner-answers", "",
           "take the VM from a cluster that is alive. Until that cluster learns of it, the VM may "
           "run twice. What it writes there then is not in the VM here"},
          {"--dry-run", "", "show what would happen and what would be lost; do nothing"}},
         replica_promote},
    };
}

}  // namespace understudy::cli
