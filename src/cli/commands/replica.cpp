#include "cli/commands/all_commands.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// `replica list`, `replica info` and `replica remove`: first the texts of single columns, then
// each command, then the declarations.

namespace understudy::cli {

using nlohmann::json;

namespace {

std::string ready_text(const json& replica) {
    const auto& issues = list_at(replica, "readiness");
    const auto blocking = count_blocking(issues);
    std::string text = yes_no_at(replica, "ready");
    if (blocking > 0) return fmt::format("{} ({} in the way)", text, blocking);
    if (!issues.empty()) text += fmt::format(" ({} warnings)", issues.size());
    return text;
}

std::string verified_text(const json& replica) {
    const json& done = at(replica, "verified");
    if (!done.is_object()) return "never";
    return fmt::format("{} {}", true_at(done, "equal") ? "equal" : "DIFFERS",
                       ago_at(done, "age_ms"));
}

// How long it took to come up when that was last tried, in so few words that a table has room.
std::string rto_text(const json& replica) {
    const json& done = at(replica, "drilled");
    if (!done.is_object()) return "unknown";
    if (!true_at(done, "passed")) return fmt::format("FAILED {}", ago_at(done, "age_ms"));
    return fmt::format("{} ({})", duration_at(done, "ready_ms"), ago_at(done, "age_ms"));
}

void add_drill(Facts& facts, const json& replica) {
    const json& done = at(replica, "drilled");
    if (!done.is_object()) return facts.add("Drilled", "never");
    facts.add("Drilled",
              fmt::format("{} {}, from {}: {}", true_at(done, "passed") ? "passed" : "FAILED",
                          ago_at(done, "age_ms"), text_at(done, "snapshot_name"),
                          text_at(done, "outcome")));
    if (true_at(done, "passed"))
        facts.add("RTO", fmt::format("{}, as the drill measured", duration_at(done, "ready_ms")));
    if (const auto evidence = find_text(done, "evidence"); evidence && !evidence->empty())
        facts.add("Evidence", fmt::format("{} on {}", *evidence, text_at(done, "node")));
}

std::string newest_name(const json& replica) {
    return at(replica, "newest").is_object() ? text_at(at(replica, "newest"), "name") : "none";
}

std::string newest_age(const json& replica) {
    return at(replica, "newest").is_object() ? ago_at(replica, "age_ms") : "-";
}

std::string state_text(const json& replica) {
    const json& coming = at(replica, "arriving");
    if (coming.is_object()) return fmt::format("receiving, {}", size_at(coming, "received_bytes"));
    return text_at(replica, "state") == "handing_over" ? "handing over" : text_at(replica, "state");
}

std::string point_age(const json& replica) {
    return newest_age(replica) + (true_at(replica, "late") ? " LATE" : "");
}

// Commands of this program without its name: the column is narrow enough.
std::string next_text(const json& replica) {
    auto next = find_text(replica, "next").value_or("");
    const std::string_view program = "understudy ";
    if (const auto at = next.find(program); at != std::string::npos) next.erase(at, program.size());
    return next.empty() ? "-" : next;
}

std::string list_text(const json& answer) {
    Table table;
    for (const char* head :
         {"NAME", "STATE", "OWNER", "NEWEST", "AGE", "READY", "VERIFIED", "RTO", "NEXT"})
        table.column(head);
    std::string below;
    for (const json& replica : list_at(answer, "replicas")) {
        table.row({text_at(replica, "name"), state_text(replica), text_at(replica, "owner_name"),
                   newest_name(replica), point_age(replica), ready_text(replica),
                   verified_text(replica), rto_text(replica), next_text(replica)});
        const auto lines = issue_lines(list_at(replica, "readiness"));
        if (!lines.empty())
            below += fmt::format("\n{}:\n{}", escape(text_at(replica, "name")), lines);
    }
    for (const json& vm : list_at(answer, "unsettled"))
        table.row({text_at(vm, "name"), state_text(vm), text_at(vm, "owner_name"), "-", "-", "-",
                   "-", "-", next_text(vm)});
    std::string above;
    for (const json& summary : list_at(answer, "summary"))
        above += escape(text_at(summary, "text")) + "\n";
    return above + (above.empty() ? "" : "\n") + table.text() + below;
}

Result<Exit> replica_list(Context& context, const Arguments&) {
    return context.call_and_print(
        request("GET", path_of({"v1", "replicas"})), [](const Context& c, const json& answer) {
            if (list_at(answer, "replicas").empty() && list_at(answer, "unsettled").empty())
                c.print_note("No replicas here.");
            else
                c.world().out << list_text(answer) << std::flush;
        });
}

// The differences that this verification found. Empty if both sides were equal.
std::string verification_lines(const json& done) {
    if (true_at(done, "equal")) return "";
    std::string text = fmt::format("\n{} is not as on {} ({}): {} range(s), {}.\n",
                                   escape(text_at(done, "snapshot_name")),
                                   escape(text_at(done, "source_name")), ago_at(done, "age_ms"),
                                   number_at(done, "ranges_found"), size_at(done, "differing"));
    for (const json& range : list_at(done, "ranges"))
        text += fmt::format("  {} at {}, {} bytes {}\n", escape(text_at(range, "target")),
                            number_at(range, "offset"), number_at(range, "length"),
                            escape(find_text(range, "why").value_or("")));
    return text;
}

void render_replica(const Context& context, const json& answer) {
    const json& replica = at(answer, "replica");
    const auto now = context.world().now();
    Facts facts;
    facts.add("Name", text_at(replica, "name"));
    facts.add("UUID", text_at(replica, "id"));
    facts.add("Owner", text_at(replica, "owner_name"));
    facts.add("Epoch", number_at(at(replica, "ownership"), "epoch"));
    facts.add("Newest", newest_name(replica));
    facts.add("RPO", newest_age(replica));
    facts.add("Size", size_at(replica, "size"));
    facts.add("Ready", ready_text(replica));
    facts.add("Verified", verified_text(replica));
    add_drill(facts, replica);
    auto& out = context.world().out;
    out << facts.text() << issue_lines(list_at(replica, "readiness"));
    Table table;
    for (const char* head : {"SNAPSHOT", "AGE", "CONSISTENCY"}) table.column(head);
    table.column("OWN", Table::Align::right);
    table.column("HELD AS");
    for (const json& snapshot : list_at(answer, "snapshots"))
        table.row({text_at(snapshot, "name"), age_at(snapshot, "taken", now),
                   text_at(snapshot, "consistency"), size_at(snapshot, "own"),
                   joined_at(snapshot, "holds", "-")});
    if (!list_at(answer, "snapshots").empty()) out << "\n" << table.text();
    for (const json& done : list_at(answer, "verifications")) out << verification_lines(done);
    for (const json& incoming : list_at(answer, "receiving")) {
        const json& snapshot = at(incoming, "snapshot");
        const auto name =
            snapshot.is_object() ? text_at(snapshot, "name") : text_at(incoming, "snapshot");
        out << fmt::format(
            "\nReceiving {}: {} so far; the last data came {}. It is not a recovery point yet.\n",
            escape(name), size_at(incoming, "received_bytes"),
            escape(age_at(incoming, "updated", now)));
    }
    out << std::flush;
}

Result<Exit> replica_info(Context& context, const Arguments& arguments) {
    return context.call_and_print(request("GET", path_of({"v1", "replicas", arguments.text("VM")})),
                                  render_replica);
}

Result<Exit> replica_remove(Context& context, const Arguments& arguments) {
    const std::string path = path_of({"v1", "replicas", arguments.text("VM")});
    const Question about{
        .command = "replica remove", .path = path, .question = "Remove this replica?"};
    UNDERSTUDY_TRY(confirm_about(context, about, [](const json& answer) {
        const json& replica = at(answer, "replica");
        return fmt::format(
            "The copy of {} here is deleted. It has {} snapshots; the newest is {} old ({}). If "
            "the cluster {} is lost, no copy of the VM is left here. A later send will be a full "
            "send.",
            escape(text_at(replica, "name")), number_at(replica, "snapshots"),
            duration_at(replica, "age_ms"), escape(newest_name(replica)),
            escape(text_at(replica, "owner_name")));
    }));
    return run_task(context, request("DELETE", path));
}

constexpr PositionalSpec kReplica{
    .name = "VM", .help = "the VM's name or UUID", .names = Names::replica};

}  // namespace

std::vector<CommandSpec> replica_commands() {
    return {
        {"replica list",
         "List replicas, and what would come back if a peer were lost",
         "AGE is the age of the newest complete, verified snapshot; a promote would lose the "
         "changes of this time. AGE shows LATE if it is more than [recovery] in understudyd.toml "
         "allows. READY says whether the replica would start here. VERIFIED says when it was last "
         "compared with its source, and the result. RTO is how long it took to come up in the last "
         "drill. NEXT is the next command for the operator. VMs that are superseded here or being "
         "handed over to a peer are listed, too.",
         "understudy replica list",
         {},
         {},
         replica_list},
        {"replica info",
         "Show a replica's snapshots, readiness and what is arriving",
         "",
         "understudy replica info web1",
         {kReplica},
         {},
         replica_info},
        {"replica remove",
         "Delete a replica's data here (asks first)",
         "",
         "understudy replica remove web1",
         {kReplica},
         {},
         replica_remove},
    };
}

}  // namespace understudy::cli
