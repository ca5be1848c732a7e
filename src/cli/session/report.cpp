#include "cli/session/report.hpp"

#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

// One function per kind of result, which says to people what the task has done; report_result() at
// the end chooses among them by what the result holds.

namespace understudy::cli {

using nlohmann::json;

namespace {

void report_send(const Context& context, const json& task, const json& result) {
    std::string line = fmt::format("Done: {}", escape(text_at(task, "title")));
    if (const auto kind = find_text(result, "kind")) line += fmt::format(", {}", escape(*kind));
    if (find_number(result, "bytes"))
        line += fmt::format(", {} ({} on the wire)", size_at(result, "bytes"),
                            size_at(result, "wire_bytes"));
    const json& seconds = at(result, "seconds");
    if (seconds.is_number() && seconds.get<double>() >= 0 && seconds.get<double>() < 1e9)
        line += fmt::format(" in {}", base::format_duration(Duration(static_cast<Duration::rep>(
                                          seconds.get<double>() * 1000))));
    context.print_line(line + ".");
    const json readiness = at(result, "readiness");
    if (!readiness.is_array() || readiness.empty()) return;
    context.print_line("\nStarting there:");
    context.world().out << issue_lines(readiness.get<std::vector<json>>()) << std::flush;
}

void report_promote(const Context& context, const json& result) {
    const json& snapshot = at(result, "snapshot");
    const auto name =
        snapshot.is_object() ? text_at(snapshot, "name") : text_at(result, "snapshot");
    std::string line =
        fmt::format("{} is owned here now, epoch {}, from snapshot {}",
                    escape(text_at(result, "vm")), number_at(result, "epoch"), escape(name));
    if (true_at(result, "started"))
        line += fmt::format("; it runs (RTO {}{}{})", duration_at(result, "rto_ms"),
                            find_text(result, "checked") ? ": " : "",
                            escape(find_text(result, "checked").value_or("")));
    else
        line += "; it is not started: start it with `understudy vm start`";
    context.print_line(line + ".");
    for (const json& change : list_at(result, "changes"))
        if (change.is_string())
            context.print_line(fmt::format("  changed: {}", escape(change.get<std::string>())));
}

void report_move(const Context& context, const json& task, const json& result) {
    std::string line = fmt::format("Done: {}: {} owns it now, epoch {}; {} on the wire",
                                   escape(text_at(task, "title")), escape(text_at(result, "peer")),
                                   number_at(result, "epoch"), size_at(result, "wire_bytes"));
    if (true_at(result, "started"))
        line += fmt::format("; it runs there (down for {})", duration_at(result, "downtime_ms"));
    else
        line += "; it is not started";
    context.print_line(line + ".");
}

void report_resolve(const Context& context, const json& result) {
    const bool here = find_text(result, "kept") == "here";
    context.print_line(fmt::format(
        "{}: {} owns it at epoch {}; {}.", escape(text_at(result, "vm")),
        escape(text_at(result, "owner")), number_at(result, "epoch"),
        here ? "the line here continues"
             : "it is a replica here again; the next send to this cluster is incremental"));
    if (const auto name = find_text(result, "new_vm"); name && !name->empty())
        context.print_line(
            fmt::format("What was written here is now the VM {0}, {1}. The branch stays until you "
                        "remove it: `understudy vm snapshot remove … --let-go`.",
                        escape(*name),
                        true_at(result, "started")
                            ? "and runs"
                            : fmt::format("not started: `understudy vm start {}`", escape(*name))));
}

void report_verify(const Context& context, const json& task, const json& result) {
    const json& done = at(result, "verification");
    const auto source = escape(text_at(result, "source_name"));
    const auto cost = fmt::format("{} compared, {} on the wire", size_at(done, "compared"),
                                  size_at(result, "verify_wire_bytes"));
    if (true_at(done, "equal"))
        return context.print_line(fmt::format("Done: {}: equal to what {} has ({}).",
                                              escape(text_at(task, "title")), source, cost));
    context.print_line(fmt::format(
        "{}: {} range(s), {} in all, differ from {} ({}):", escape(text_at(task, "title")),
        number_at(done, "ranges_found"), size_at(done, "differing"), source, cost));
    for (const json& range : list_at(done, "ranges"))
        context.print_line(fmt::format("  {} at {}, {} bytes{}", escape(text_at(range, "target")),
                                       number_at(range, "offset"), number_at(range, "length"),
                                       find_text(range, "why").value_or("").empty()
                                           ? ""
                                           : ": " + escape(text_at(range, "why"))));
}

void report_drill(const Context& context, const json& task, const json& result) {
    const json& done = at(result, "drill");
    const bool passed = true_at(done, "passed");
    std::string line = fmt::format("{}: {}: {}", escape(text_at(task, "title")),
                                   passed ? "passed" : "FAILED", escape(text_at(done, "outcome")));
    if (passed)
        line += fmt::format("; up {} after it was asked for", duration_at(done, "ready_ms"));
    context.print_line(line + ".");
    const auto& issues = list_at(result, "issues");
    if (!issues.empty())
        context.print_line("These prevent a promote, or are different from the original:");
    if (!issues.empty()) context.world().out << issue_lines(issues) << std::flush;
    if (const auto evidence = find_text(done, "evidence"); evidence && !evidence->empty())
        context.print_line(
            fmt::format("  evidence: {} on {}", escape(*evidence), escape(text_at(done, "node"))));
}

void report_snapshot(const Context& context, const json& snapshot) {
    context.print_line(fmt::format(
        "Took snapshot {} ({} disks, {}-consistent).", escape(text_at(snapshot, "name")),
        list_at(snapshot, "disks").size(), escape(text_at(snapshot, "consistency"))));
}

void report_export(const Context& context, const json& result) {
    context.print_line(fmt::format(
        "Wrote {}: {}, {} files of {}, {} of data.", escape(text_at(result, "directory")),
        escape(text_at(result, "kind")), escape(text_at(result, "format")),
        size_at(result, "file_bytes"), size_at(result, "bytes")));
}

void report_import(const Context& context, const json& result) {
    const auto vm = escape(text_at(result, "vm"));
    const auto snapshot = escape(text_at(at(result, "snapshot"), "name"));
    if (true_at(result, "new_vm"))
        context.print_line(fmt::format(
            "{} is a new VM here, from snapshot {}; {}.", vm, snapshot,
            true_at(result, "started") ? "it runs"
                                       : "it is not started: start it with `understudy vm start`"));
    else
        context.print_line(fmt::format("Imported {}@{} ({}); {} owns the VM.", vm, snapshot,
                                       escape(text_at(result, "kind")),
                                       escape(text_at(result, "owner"))));
    for (const json& change : list_at(result, "changes"))
        if (change.is_string())
            context.print_line(fmt::format("  changed: {}", escape(change.get<std::string>())));
}

}  // namespace

void report_result(const Context& context, const json& task) {
    const json result = at(task, "result");
    // By what the result holds rather than by the task's kind, which is the daemon's own business.
    if (find_text(result, "peer")) return report_move(context, task, result);
    if (find_text(result, "kept")) return report_resolve(context, result);
    if (at(result, "wire_bytes").is_number()) return report_send(context, task, result);
    if (find_text(result, "kind") == "nothing")
        return context.print_line(
            fmt::format("Nothing to do: {}: it is there already, complete and "
                        "verified.",
                        escape(text_at(task, "title"))));
    if (find_text(result, "directory")) return report_export(context, result);
    if (at(result, "drill").is_object()) return report_drill(context, task, result);
    if (at(result, "verification").is_object()) return report_verify(context, task, result);
    if (find_number(result, "repaired_bytes"))
        return context.print_line(fmt::format("Done: {}: {} repaired.",
                                              escape(text_at(task, "title")),
                                              size_at(result, "repaired_bytes")));
    if (at(result, "new_vm").is_boolean()) return report_import(context, result);
    if (at(result, "started").is_boolean()) return report_promote(context, result);
    if (at(result, "snapshot").is_object()) return report_snapshot(context, at(result, "snapshot"));
    context.print_line(fmt::format("Done: {}.", escape(text_at(task, "title"))));
}

}  // namespace understudy::cli
