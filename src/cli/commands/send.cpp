#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <ostream>

// `vm snapshot send`: the call's body from the options, the plan that --dry-run prints, the
// command, its declaration. A send that is cut off here goes on in the daemon.

namespace understudy::cli {

using nlohmann::json;

namespace {

Result<unsigned> channels_from(const std::string& text) {
    unsigned channels = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), channels);
    if (error == std::errc{} && end == text.data() + text.size() && channels >= 1 && channels <= 16)
        return channels;
    return fail(ErrorKind::invalid, fmt::format("--channels: '{}' is not from 1 to 16", text));
}

Result<json> send_body(const Arguments& arguments) {
    json body{{"full", arguments.has("full")},
              {"dry_run", arguments.has("dry-run")},
              {"accept", arguments.all("accept")}};
    if (arguments.has("full") && arguments.has("base"))
        return fail(ErrorKind::invalid,
                    "--full sends everything, so it cannot be used with --base");
    if (const auto peer = arguments.find("to")) body["peer"] = *peer;
    if (const auto base = arguments.find("base")) body["base"] = snapshot_of_word(*base);
    UNDERSTUDY_TRY(put_rate(body, arguments, "limit"));
    if (const auto text = arguments.find("channels")) {
        auto channels = UNDERSTUDY_VALUE(channels_from(*text));
        body["channels"] = channels;
    }
    return body;
}

void render_plan(const Context& context, const json& answer) {
    const json& plan = at(answer, "plan");
    auto& out = context.world().out;
    Facts facts;
    facts.add("Would send", text_at(plan, "kind"));
    facts.add("Base", at(plan, "base").is_object() ? text_at(at(plan, "base"), "name") : "none");
    if (const auto reason = find_text(plan, "reason")) facts.add("Because", *reason);
    facts.add("Bytes", size_at(plan, "bytes"));
    out << facts.text();
    Table disks;
    disks.column("DISK");
    for (const char* head : {"SIZE", "TO SEND", "ZEROED"}) disks.column(head, Table::Align::right);
    for (const json& disk : list_at(plan, "disks"))
        disks.row({text_at(disk, "target"), size_at(disk, "size"), size_at(disk, "bytes"),
                   size_at(disk, "zero_bytes")});
    if (!list_at(plan, "disks").empty()) out << "\n" << disks.text();
    if (!list_at(plan, "issues").empty())
        out << "\nStarting there:\n" << issue_lines(list_at(plan, "issues"));
    out << std::flush;
}

Result<Exit> snapshot_send(Context& context, const Arguments& arguments) {
    SnapshotName name = snapshot_name(arguments);
    if (name.snapshot.empty()) name.snapshot = "@newest";
    auto body = UNDERSTUDY_VALUE(send_body(arguments));
    auto call =
        request("POST", path_of({"v1", "vms", name.vm, "snapshots", name.snapshot, "send"}), body);
    // The plan needs the extents of every disk and the peer's answer.
    call.timeout = kCallTimeout * 5;
    if (arguments.has("dry-run")) return context.call_and_print(call, render_plan);
    return run_task(context, call);
}

}  // namespace

std::vector<CommandSpec> send_commands() {
    return {
        {"vm snapshot send",
         "Send a snapshot to a peer",
         "The send transfers what changed since the newest snapshot that both sides have. If there "
         "is no such snapshot, it transfers everything. A send that was cut off continues from "
         "where it was.",
         "understudy vm snapshot send web1@nightly --to dr\n"
         "understudy vm snapshot send web1 --to dr --dry-run",
         {kVmAtSnapshot,
          {.name = "SNAPSHOT",
           .help = "its name or id; the newest if not given",
           .required = false,
           .names = Names::snapshot}},
         {{.flags = "--to",
           .value = "PEER",
           .help = "which peer; may be left out if there is only one",
           .names = Names::peer},
          {"--full", "", "send everything, also what the peer has already"},
          {.flags = "--base",
           .value = "SNAPSHOT",
           .help = "send what changed since this snapshot",
           .names = Names::snapshot},
          {"--dry-run", "", "show the plan and how much would be sent; send nothing"},
          {"--limit", "RATE", "bytes per second for this send, such as 50MiB"},
          {"--channels", "N", "connections to use at once"},
          {.flags = "--accept",
           .value = "KEY",
           .help = "send although KEY (tpm, network:lan …) prevents it from starting on the peer "
                   "as it starts here",
           .repeats = true}},
         snapshot_send},
    };
}

}  // namespace understudy::cli
