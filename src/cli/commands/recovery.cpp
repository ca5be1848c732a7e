#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `vm move` with its dry run, `replica resolve`, `vm may-start`, then their declarations. The
// first two ask before they change anything, and are tasks that go on in the daemon when this
// command is cut off.

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<json> move_body(const Arguments& arguments) {
    json body{{"start", !arguments.has("no-start")},
              {"force_off", arguments.has("force-off")},
              {"dry_run", arguments.has("dry-run")},
              {"accept", arguments.all("accept")}};
    if (const auto peer = arguments.find("PEER")) body["peer"] = *peer;
    auto limit = base::parse_duration(arguments.find("limit").value_or("2m"));
    if (!limit) return fail(std::move(limit.error()).during("--limit"));
    body["limit_ms"] = limit->count();
    UNDERSTUDY_TRY(put_rate(body, arguments, "rate"));
    return body;
}

std::string to_send_text(const json& plan) {
    std::string text = size_at(plan, "expected_bytes");
    if (find_number(plan, "send_ms"))
        text += fmt::format(", about {} at {}, the rate of the last large send to that peer",
                            duration_at(plan, "send_ms"), rate_at(plan, "rate_bytes"));
    return true_at(plan, "running") ? text + "; the VM runs meanwhile" : text;
}

// The downtime that an earlier move measured is the best estimate.
std::string downtime_text(const json& plan, TimePoint now) {
    if (!true_at(plan, "running")) return "none: it does not run here";
    const std::string parts = fmt::format(
        "the sum of: its shutdown (at most {}); the send of what it wrote during the last round (a "
        "round of at most 5 s, or the fourth round); its start there",
        duration_at(plan, "limit_ms"));
    if (!find_number(plan, "downtime_ms")) return "unknown, it was not moved before: " + parts;
    return fmt::format("about {}, as in its last move ({}): {}", duration_at(plan, "downtime_ms"),
                       age_at(plan, "moved", now), parts);
}

void render_move(const Context& context, const json& answer) {
    const json& plan = at(answer, "plan");
    const auto now = context.world().now();
    const json& newest = at(plan, "newest");
    Facts facts;
    facts.add("Move", text_at(plan, "vm"));
    facts.add("To", text_at(plan, "peer"));
    if (newest.is_object()) {
        facts.add("Newest snapshot", fmt::format("{}, taken {}", text_at(newest, "name"),
                                                 age_at(newest, "taken", now)));
        facts.add("Its send", fmt::format("{}, {}", text_at(plan, "kind"), size_at(plan, "bytes")));
        facts.add("Written since", size_at(plan, "unsent_bytes"));
        facts.add("To send in all", to_send_text(plan));
    } else {
        facts.add("First send", "all of its disks, because it has no snapshot yet");
    }
    facts.add("Downtime", downtime_text(plan, now));
    auto& out = context.world().out;
    out << facts.text();
    if (!list_at(plan, "issues").empty())
        out << "\nStarting there:\n" << issue_lines(list_at(plan, "issues"));
    out << std::flush;
}

Result<Exit> vm_move(Context& context, const Arguments& arguments) {
    auto body = UNDERSTUDY_VALUE(move_body(arguments));
    const std::string vm = arguments.text("VM");
    auto call = request("POST", path_of({"v1", "vms", vm, "move"}), body);
    call.timeout = kCallTimeout * 5;  // the plan needs the extents of every disk
    if (arguments.has("dry-run")) return context.call_and_print(call, render_move);
    UNDERSTUDY_TRY(check_can_ask(context, "vm move"));
    const auto loss = fmt::format(
        "{} is shut down here, and then runs on {}. Nothing is lost. Between the shutdown and the "
        "start the VM is down.",
        escape(vm), escape(arguments.find("PEER").value_or("the peer")));
    UNDERSTUDY_TRY(confirm(context, loss, "Move it?"));
    return run_task(context, call);
}

constexpr std::string_view kKeepThere =
    "The owner's line continues. The VM here is switched off and becomes a replica again. What it "
    "wrote here after the two lines separated stays as a snapshot until you remove it.";
constexpr std::string_view kKeepHere =
    "The line here continues, under a new epoch. The present owner loses the VM. What was written "
    "there after the two lines separated stays there as a snapshot.";

constexpr std::string_view kAsNewVm =
    "Before that, what it wrote here becomes a VM of its own, {}: its disks are copied, its "
    "network cards get new addresses; it is {}started.";

Result<Exit> replica_resolve(Context& context, const Arguments& arguments) {
    const bool here = arguments.has("keep-here");
    const auto new_vm = arguments.find("as-new-vm");
    const bool there = arguments.has("keep-there") || (new_vm && !here);
    if (here == there)
        return fail(Error(ErrorKind::invalid, "one of --keep-here and --keep-there is needed")
                        .advising("With --keep-there the line of the VM's owner continues, with "
                                  "--keep-here the line on this cluster."));
    if (here && new_vm)
        return fail(
            Error(ErrorKind::invalid, "--as-new-vm can be used only with --keep-there")
                .advising(
                    "With --keep-here the line here is the VM itself; it does not need a new VM."));
    const bool start = arguments.has("start");
    if (!new_vm && (start || arguments.has("accept")))
        return fail(ErrorKind::invalid, "--start and --accept go with --as-new-vm");
    UNDERSTUDY_TRY(check_can_ask(context, "replica resolve"));
    const std::string vm = arguments.text("VM");
    if (!context.settings().yes) {
        context.world().err << escape(vm) << ": " << (here ? kKeepHere : kKeepThere) << "\n";
        if (new_vm)
            context.world().err << fmt::format(kAsNewVm, escape(*new_vm), start ? "" : "not ")
                                << "\n";
        context.world().err << "\n";
        UNDERSTUDY_TRY(confirm_by_name(context, vm));
    }
    json body{{"keep", here ? "here" : "there"},
              {"start", !arguments.has("no-start")},
              {"even_if_owner_runs", arguments.has("even-if-owner-runs")}};
    if (new_vm) body["as_new_vm"] = *new_vm;
    if (new_vm) body["start_new_vm"] = start;
    if (new_vm) body["accept"] = arguments.all("accept");
    return run_task(context, request("POST", path_of({"v1", "replicas", vm, "resolve"}), body));
}

Result<Exit> vm_may_start(Context& context, const Arguments& arguments) {
    return context.call_and_print(
        request(arguments.has("starting") ? "POST" : "GET",
                path_of({"v1", "vms", arguments.text("UUID"), "may-start"})),
        [](const Context& c, const json& answer) {
            c.print_line(fmt::format("{} may start here.", escape(text_at(answer, "vm"))));
        });
}

}  // namespace

std::vector<CommandSpec> recovery_commands() {
    return {
        {"vm may-start",
         "Say whether a VM may start here, and change nothing",
         "The answer depends on this cluster's record, on the peers that have a replica, and on "
         "whether a snapshot of the VM was cut off. The exit code is 3 if the VM must not start. "
         "libvirt's hook asks the same before every start, with --starting.",
         "understudy vm may-start 6d7f0c1e-0f0b-4d3a-9a53-4f1f6f0d2a11",
         {{"UUID", "the VM's UUID"}},
         {{"--starting", "", "a start follows: record it when a peer says that it owns the VM"}},
         vm_may_start},
        {"vm move",
         "Move a VM to a peer, with nothing lost (asks first)",
         "The command sends snapshots while the VM runs. Then it shuts the VM down and sends the "
         "last snapshot. The peer then owns the VM and starts it. If the move fails before the "
         "peer was asked, the VM stays here and is started again. After the move, sends go the "
         "other way.",
         "understudy vm move web1 dr --dry-run\nunderstudy vm move web1 dr",
         {kVm,
          {.name = "PEER",
           .help = "which peer; may be left out when there is one",
           .required = false,
           .names = Names::peer}},
         {{"--limit", "TIME", "how long the guest may take to shut down; 2m if not given"},
          {"--force-off", "",
           "if the guest takes longer, switch it off; without this option the VM stays here"},
          {"--no-start", "", "do not start it there"},
          {"--rate", "RATE", "bytes per second to send, such as 50MiB"},
          kAcceptKey,
          {"--dry-run", "", "show what would travel, and do nothing"}},
         vm_move},
        {"replica resolve",
         "Say which of two lines of a VM continues (asks first)",
         "This is for a VM that is superseded: it was promoted elsewhere while it still ran here. "
         "The data of both lines is kept. --keep-here also takes back a VM that was being moved to "
         "a cluster that is now lost. --as-new-vm NAME keeps both lines: the owner's line "
         "continues, and what was written here becomes the VM NAME with its own disks. The branch "
         "snapshot stays, as after --keep-there.",
         "understudy replica resolve web1 --keep-there\n"
         "understudy replica resolve web1 --as-new-vm web1-before",
         {kVm},
         {{"--keep-there", "", "the owner's line continues; the VM here becomes a replica again"},
          {"--keep-here", "", "this cluster's line continues; the owner must have stopped the VM"},
          {"--as-new-vm", "NAME",
           "as --keep-there, and what was written here becomes a separate VM. If the VM was "
           "resolved before: make the VM from its newest branch"},
          {"--start", "", "with --as-new-vm: start the new VM at the end"},
          {.flags = "--accept",
           .value = "KEY",
           .help = "with --as-new-vm: continue although KEY (network:lan …) is in the way",
           .repeats = true},
          {"--no-start", "", "with --keep-here: do not start it"},
          {"--even-if-owner-runs", "",
           "with --keep-here: do not ask the owner. If the VM runs there, it runs twice until that "
           "cluster learns of it"}},
         replica_resolve},
    };
}

}  // namespace understudy::cli
