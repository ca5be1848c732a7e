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

// The commands of `vm` except move, may-start and snapshot: list, info, start, shutdown, stop,
// release; then their declarations. Stop and release ask before they change anything.

namespace understudy::cli {

using nlohmann::json;

namespace {

std::string owner_text(const json& vm) {
    const json& ownership = at(vm, "ownership");
    if (ownership.is_null()) return "-";
    const std::string phase = text_at(ownership, "phase");
    const std::string owner = text_at(vm, "owner_name");
    return phase == "owned" || phase == "replica" ? owner : fmt::format("{} ({})", owner, phase);
}

std::string newest_text(const json& vm, TimePoint now) {
    if (at(vm, "newest").is_null() && find_number(vm, "snapshots") == 0) return "none";
    return age_at(vm, "newest", now);
}

Result<Exit> vm_list(Context& context, const Arguments&) {
    return context.call_and_print(
        request("GET", path_of({"v1", "vms"})), [](const Context& c, const json& answer) {
            Table table;
            for (const char* head : {"NAME", "STATE", "OWNER"}) table.column(head);
            table.column("SNAPSHOTS", Table::Align::right);
            table.column("NEWEST");
            for (const json& vm : list_at(answer, "vms"))
                table.row({text_at(vm, "name"), text_at(vm, "state"), owner_text(vm),
                           number_at(vm, "snapshots"), newest_text(vm, c.world().now())});
            if (list_at(answer, "vms").empty())
                c.print_note("No VMs here. `understudy replica list` shows the replicas.");
            else
                c.world().out << table.text() << std::flush;
        });
}

std::string disk_table(const std::vector<json>& disks) {
    Table table;
    for (const char* head : {"DISK", "FORMAT"}) table.column(head);
    table.column("SIZE", Table::Align::right);
    for (const char* head : {"POOL", "SOURCE", "NOTE"}) table.column(head);
    for (const json& disk : disks)
        table.row({text_at(disk, "target"), text_at(disk, "format"), size_at(disk, "size"),
                   find_text(disk, "pool").value_or("-"), text_at(disk, "source"),
                   find_text(disk, "unsupported").value_or("")});
    return table.text();
}

std::string replication_table(const std::vector<json>& replications, TimePoint now) {
    Table table;
    for (const char* head : {"PEER", "RPO", "SENT", "READY"}) table.column(head);
    std::string issues;
    for (const json& replication : replications) {
        const json readiness = at(replication, "readiness");
        const bool known = readiness.is_array();
        const std::vector<json> list =
            known ? readiness.get<std::vector<json>>() : std::vector<json>{};
        const auto blocking = count_blocking(list);
        table.row({text_at(replication, "peer_name"), duration_at(replication, "rpo_ms"),
                   age_at(replication, "sent", now),
                   !known          ? std::string(kUnknown)
                   : blocking == 0 ? "yes"
                                   : fmt::format("no ({})", blocking)});
        if (!list.empty())
            issues += fmt::format("\nStarting at {}:\n{}",
                                  escape(text_at(replication, "peer_name")), issue_lines(list));
    }
    return table.text() + issues;
}

void render_vm(const Context& context, const json& answer) {
    const json& vm = at(answer, "vm");
    const auto now = context.world().now();
    Facts facts;
    facts.add("Name", text_at(vm, "name"));
    facts.add("UUID", text_at(vm, "id"));
    facts.add("State", text_at(vm, "state"));
    if (at(vm, "ownership").is_null()) {
        facts.add("Owner", "- (Understudy does not manage it yet)");
    } else {
        facts.add("Owner", owner_text(vm));
        facts.add("Epoch", number_at(at(vm, "ownership"), "epoch"));
    }
    facts.add("Autostart", yes_no_at(vm, "autostart"));
    facts.add("Snapshots", number_at(vm, "snapshots"));
    facts.add("Newest",
              at(vm, "newest").is_null() ? newest_text(vm, now) : moment_at(vm, "newest", now));
    auto& out = context.world().out;
    out << facts.text();
    // Beside the VM or inside it: both readings of the contract.
    const auto part = [&](const char* key) -> const std::vector<json>& {
        return at(vm, key).is_array() ? list_at(vm, key) : list_at(answer, key);
    };
    if (!part("disks").empty()) out << "\n" << disk_table(part("disks"));
    if (find_text(at(vm, "ownership"), "phase") == "replica")
        out << "\nThis is a replica: `understudy replica info` shows more about it.\n";
    else if (part("replications").empty())
        out << "\nNo peer holds a copy of this VM.\n";
    else
        out << "\n" << replication_table(part("replications"), now);
    if (!part("obstacles").empty())
        out << "\nWhat prevents snapshots and sends:\n" << issue_lines(part("obstacles"));
    out << std::flush;
}

Result<Exit> vm_info(Context& context, const Arguments& arguments) {
    return context.call_and_print(request("GET", path_of({"v1", "vms", arguments.text("VM")})),
                                  render_vm);
}

void render_state(const Context& context, const json& answer) {
    const json& vm = at(answer, "vm");
    context.print_line(
        fmt::format("{} is {}.", escape(text_at(vm, "name")), escape(text_at(vm, "state"))));
}

Result<Exit> vm_start(Context& context, const Arguments& arguments) {
    return context.call_and_print(
        request("POST", path_of({"v1", "vms", arguments.text("VM"), "start"})), render_state);
}

Result<Exit> vm_shutdown(Context& context, const Arguments& arguments) {
    auto limit = base::parse_duration(arguments.find("limit").value_or("2m"));
    if (!limit) return fail(std::move(limit.error()).during("--limit"));
    if (*limit < std::chrono::seconds(1) || *limit >= std::chrono::hours(24))
        return fail(ErrorKind::invalid, "--limit must be at least 1s and less than 24h");
    auto call = request("POST", path_of({"v1", "vms", arguments.text("VM"), "shutdown"}),
                        {{"limit_ms", limit->count()}});
    call.timeout = *limit + kCallTimeout;
    return context.call_and_print(call, render_state);
}

Result<Exit> vm_stop(Context& context, const Arguments& arguments) {
    const std::string name = arguments.text("VM");
    const Question about{
        .command = "vm stop", .path = path_of({"v1", "vms", name}), .question = "Stop it?"};
    UNDERSTUDY_TRY(confirm_about(context, about, [&](const json& answer) {
        return fmt::format(
            "{} ({}) is switched off at once, as if the power failed. What the guest has not "
            "written to its disks yet is lost. (`understudy vm shutdown` asks the guest to shut "
            "down.)",
            escape(name), escape(text_at(at(answer, "vm"), "state")));
    }));
    return context.call_and_print(request("POST", path_of({"v1", "vms", name, "stop"})),
                                  render_state);
}

Result<Exit> vm_release(Context& context, const Arguments& arguments) {
    const std::string name = arguments.text("VM");
    const Question about{
        .command = "vm release", .path = path_of({"v1", "vms", name}), .question = "Release it?"};
    UNDERSTUDY_TRY(confirm_about(context, about, [&](const json& answer) {
        return fmt::format(
            "Understudy lets go of {}: its snapshots here ({}) are merged away and cannot be "
            "brought back, and nothing is sent to peers any more. The VM's present data stays; "
            "replicas on peers stay.",
            escape(name), number_at(at(answer, "vm"), "snapshots"));
    }));
    return run_task(context, request("POST", path_of({"v1", "vms", name, "release"})));
}

}  // namespace

std::vector<CommandSpec> vm_commands() {
    return {
        {"vm list",
         "List the VMs that run here or may run here",
         "OWNER is the cluster that may run the VM. It is - if Understudy does not manage the VM "
         "yet. NEWEST is the age of the VM's newest snapshot.",
         "understudy vm list",
         {},
         {},
         vm_list},
        {"vm info",
         "Show a VM: its disks, what prevents sends, the age of its copies",
         "RPO is the age of the newest complete, verified snapshot on the peer. If this cluster "
         "were lost now, the changes of this time would be lost.",
         "understudy vm info web1",
         {kVm},
         {},
         vm_info},
        {"vm start",
         "Start a VM that this cluster owns",
         "Refused (exit code 3) for a replica and for a VM that was promoted elsewhere.",
         "understudy vm start web1",
         {kVm},
         {},
         vm_start},
        {"vm shutdown",
         "Ask the guest to shut down, and wait until it is off",
         "",
         "understudy vm shutdown web1 --limit 5m",
         {kVm},
         {{"--limit", "TIME", "how long the guest may take (90s, 5m); 2m if not given"}},
         vm_shutdown},
        {"vm stop",
         "Switch a VM off at once (asks first)",
         "What the guest has not written to its disks yet is lost.",
         "understudy vm stop web1",
         {kVm},
         {},
         vm_stop},
        {"vm release",
         "End Understudy's management of a VM (asks first)",
         "Its snapshots here are removed by merging. The VM then uses the files that it had "
         "before, and its autostart is as before.",
         "understudy vm release web1",
         {kVm},
         {},
         vm_release},
    };
}

}  // namespace understudy::cli
