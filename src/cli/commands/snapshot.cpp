#include "cli/commands/all_commands.hpp"
#include "cli/commands/shared_options.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/context.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// The commands of `vm snapshot` about snapshots that stay here: create, list, info, remove,
// rollback; then their declarations. `remove` of several is one task after the other: cut off, it
// says which were not begun.

namespace understudy::cli {

using nlohmann::json;

namespace {

std::string snapshot_path(const SnapshotName& name) {
    return path_of({"v1", "vms", name.vm, "snapshots", name.snapshot});
}

Result<Exit> snapshot_create(Context& context, const Arguments& arguments) {
    const SnapshotName name = snapshot_name(arguments);
    if (name.snapshot.starts_with('@'))
        return fail(ErrorKind::invalid, "a new snapshot cannot be called @newest");
    json body{{"freeze", !arguments.has("no-freeze")}};
    if (!name.snapshot.empty()) body["name"] = name.snapshot;
    return run_task(context, request("POST", path_of({"v1", "vms", name.vm, "snapshots"}), body));
}

Result<Exit> snapshot_list(Context& context, const Arguments& arguments) {
    return context.call_and_print(
        request("GET", path_of({"v1", "vms", arguments.text("VM"), "snapshots"})),
        [](const Context& c, const json& answer) {
            Table table;
            for (const char* head : {"NAME", "AGE", "CONSISTENCY"}) table.column(head);
            table.column("SIZE", Table::Align::right);
            table.column("OWN", Table::Align::right);
            table.column("HELD AS");
            for (const json& snapshot : list_at(answer, "snapshots"))
                table.row({text_at(snapshot, "name"), age_at(snapshot, "taken", c.world().now()),
                           text_at(snapshot, "consistency"), size_at(snapshot, "size"),
                           size_at(snapshot, "own"), joined_at(snapshot, "holds", "-")});
            if (list_at(answer, "snapshots").empty())
                c.print_note("No snapshots. `understudy vm snapshot create VM` takes one.");
            else
                c.world().out << table.text() << std::flush;
        });
}

void render_snapshot(const Context& context, const json& answer) {
    const json& snapshot = at(answer, "snapshot");
    Facts facts;
    facts.add("Name", text_at(snapshot, "name"));
    facts.add("Id", text_at(snapshot, "id"));
    facts.add("Taken", moment_at(snapshot, "taken", context.world().now()));
    facts.add("Consistency", text_at(snapshot, "consistency"));
    facts.add("Parent", find_text(snapshot, "parent").value_or("none"));
    facts.add("Epoch", number_at(snapshot, "epoch"));
    facts.add("Size", size_at(snapshot, "size"));
    facts.add("Own data", size_at(snapshot, "own"));
    facts.add("Held as", joined_at(snapshot, "holds", "-"));
    Table disks;
    disks.column("DISK");
    disks.column("SIZE", Table::Align::right);
    disks.column("POOL");
    for (const json& disk : list_at(snapshot, "disks"))
        disks.row({text_at(disk, "target"), size_at(disk, "size"), text_at(disk, "pool")});
    context.world().out << facts.text() << "\n" << disks.text() << std::flush;
}

void render_xml(const Context& context, const json& answer) {
    const auto xml = find_text(answer, "domain_xml").value_or("");
    // As it is for a file or a pipe; a terminal gets nothing that could steer it.
    context.world().out << (context.world().out_is_terminal ? escape_lines(xml) : xml)
                        << (xml.ends_with('\n') ? "" : "\n") << std::flush;
}

Result<Exit> snapshot_info(Context& context, const Arguments& arguments) {
    auto name = UNDERSTUDY_VALUE(required_snapshot_name(arguments));
    return context.call_and_print(request("GET", snapshot_path(name)),
                                  arguments.has("xml") ? render_xml : render_snapshot);
}

// VM SNAPSHOT..., VM@SNAPSHOT... and mixtures of them; all of one VM.
Result<std::vector<SnapshotName>> names_to_remove(const Arguments& arguments) {
    std::vector<SnapshotName> names;
    const auto rest = arguments.all("SNAPSHOT");
    const auto first = split_at_snapshot(arguments.text("VM"));
    if (!first.snapshot.empty()) names.push_back(first);
    for (const auto& word : rest) {
        const auto split = split_at_snapshot(word);
        const bool whole = word.starts_with('@') || split.snapshot.empty();
        if (!whole && split.vm != first.vm)
            return fail(ErrorKind::invalid,
                        fmt::format("'{}' belongs to another VM than {}; one command can remove "
                                    "snapshots of only one VM",
                                    word, first.vm));
        names.push_back(whole ? SnapshotName{first.vm, word} : split);
    }
    if (!names.empty()) return names;
    auto missing = required_snapshot_name(arguments);
    return error_of(missing);
}

Result<std::string> loss_of(const Context& context, const std::vector<SnapshotName>& names) {
    std::string loss = fmt::format("These recovery points of {} are lost:", escape(names[0].vm));
    for (const auto& name : names) {
        auto answer = UNDERSTUDY_VALUE(context.get(snapshot_path(name)));
        const json& snapshot = at(answer, "snapshot");
        loss += fmt::format("\n  {}, taken {}", escape(text_at(snapshot, "name")),
                            escape(age_at(snapshot, "taken", context.world().now())));
        if (!list_at(snapshot, "holds").empty())
            loss += fmt::format(", held as {}", escape(joined_at(snapshot, "holds", "-")));
    }
    return loss + "\nThe VM's present data and the peers' copies stay.";
}

std::string not_begun(const std::vector<SnapshotName>& names, std::size_t from) {
    std::string list;
    for (std::size_t i = from; i < names.size(); ++i)
        list += (list.empty() ? "" : ", ") + names[i].snapshot;
    return list.empty() ? "" : "not begun: removal of " + list;
}

// Removes one snapshot after the other. The first failure ends this and says which were not begun.
Result<> remove_all(const Context& context, const std::vector<SnapshotName>& names, bool let_go,
                    json& tasks) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        auto answer =
            context.call(request("DELETE", snapshot_path(names[i]) + (let_go ? "?let_go=1" : "")));
        auto task = answer ? task_of(*answer) : Result<json>(fail(std::move(answer.error())));
        Result<> outcome;
        if (!task) {
            outcome = fail(std::move(task.error()));
        } else if (context.settings().no_wait) {
            tasks.push_back(*task);
            if (!context.json()) context.print_line(text_at(*task, "id"));
        } else {
            auto last = wait_for_task(context, *task, not_begun(names, i + 1));
            if (last) tasks.push_back(at(*last, "task"));
            outcome = last ? outcome_of(at(*last, "task")) : fail(std::move(last.error()));
            if (outcome)
                context.print_note(
                    fmt::format("Removed {}@{}.", escape(names[i].vm), escape(names[i].snapshot)));
        }
        if (outcome) continue;
        auto error = std::move(outcome.error())
                         .during(fmt::format("remove {}@{}", names[i].vm, names[i].snapshot));
        const auto left = not_begun(names, i + 1);
        if (left.empty()) return fail(std::move(error));
        const auto kept = error.kept().empty() ? left : error.kept() + "; " + left;
        return fail(std::move(error).keeping(kept));
    }
    return {};
}

Result<Exit> snapshot_remove(Context& context, const Arguments& arguments) {
    auto names = UNDERSTUDY_VALUE(names_to_remove(arguments));
    UNDERSTUDY_TRY(check_can_ask(context, "vm snapshot remove"));
    if (!context.settings().yes) {
        auto loss = UNDERSTUDY_VALUE(loss_of(context, names));
        UNDERSTUDY_TRY(confirm(context, loss, names.size() == 1 ? "Remove it?" : "Remove them?"));
    }
    json tasks = json::array();
    const auto removed = remove_all(context, names, arguments.has("let-go"), tasks);
    if (context.json() && !tasks.empty()) context.print_json({{"tasks", tasks}});
    if (!removed) return fail(removed.error());
    return Exit::done;
}

Result<Exit> snapshot_rollback(Context& context, const Arguments& arguments) {
    auto name = UNDERSTUDY_VALUE(required_snapshot_name(arguments));
    const std::string path = snapshot_path(name);
    const Question about{.command = "vm snapshot rollback", .path = path, .question = "Roll back?"};
    UNDERSTUDY_TRY(confirm_about(context, about, [&](const json& answer) {
        const json& snapshot = at(answer, "snapshot");
        return fmt::format(
            "{} is set back to snapshot {}, which was taken {}. What the guest wrote since its "
            "last snapshot (or rollback) is lost. All snapshots stay.",
            escape(name.vm), escape(text_at(snapshot, "name")),
            escape(age_at(snapshot, "taken", context.world().now())));
    }));
    if (!arguments.has("accept")) return run_task(context, request("POST", path + "/rollback"));
    return run_task(context,
                    request("POST", path + "/rollback", {{"accept", arguments.all("accept")}}));
}

}  // namespace

std::vector<CommandSpec> snapshot_commands() {
    return {
        {"vm snapshot create",
         "Take a snapshot of all disks and the definition, at one moment",
         "If the guest's agent answers, the guest's file systems are frozen for that moment. If no "
         "name is given, the name is made from the time.",
         "understudy vm snapshot create web1 before-upgrade",
         {{.name = "VM",
           .help = "the VM's name or UUID, or VM@NAME in one word",
           .names = Names::vm},
          {.name = "SNAPSHOT", .help = "the new snapshot's name", .required = false}},
         {{"--no-freeze", "", "do not ask the guest's agent to freeze its file systems"}},
         snapshot_create},
        {"vm snapshot list",
         "List a VM's snapshots",
         "SIZE is the size that the guest sees. OWN is the space that removing the snapshot could "
         "free. HELD AS says why a snapshot cannot be removed now.",
         "understudy vm snapshot list web1",
         {kVm},
         {},
         snapshot_list},
        {"vm snapshot info",
         "Show one snapshot",
         "",
         "understudy vm snapshot info web1@nightly\n"
         "understudy vm snapshot info web1 nightly --xml",
         {kVmAtSnapshot, kSnapshot},
         {{"--xml", "", "print the VM's definition at that moment"}},
         snapshot_info},
        {"vm snapshot remove",
         "Remove snapshots of a VM (asks first)",
         "The command refuses to remove a snapshot that is held, such as the base for a peer.",
         "understudy vm snapshot remove web1 monday tuesday",
         {kVmAtSnapshot,
          {.name = "SNAPSHOT",
           .help = "names or ids",
           .required = false,
           .repeats = true,
           .names = Names::snapshot}},
         {{"--let-go", "",
           "also remove a snapshot that is held as a branch: it has writes of a superseded VM that "
           "no other cluster has"}},
         snapshot_remove},
        {"vm snapshot rollback",
         "Set a stopped VM back to a snapshot (asks first)",
         "Refused while the VM runs. All snapshots stay, also the newer ones.",
         "understudy vm snapshot rollback web1@before-upgrade",
         {kVmAtSnapshot, kSnapshot},
         {{.flags = "--accept",
           .value = "KEY",
           .help = "continue although KEY (tpm, network:lan …) is in the way",
           .repeats = true}},
         snapshot_rollback},
    };
}

}  // namespace understudy::cli
