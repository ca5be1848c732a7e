#include "cli/confirm.hpp"
#include "cli/promote.hpp"
#include "cli/replicas.hpp"
#include "cli/table.hpp"
#include "cli/values.hpp"
#include "cli/wait.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

namespace understudy::cli {

using nlohmann::json;

namespace {

// One VM, from what was said of it to what came of it.
struct Rescue {
    std::string word;  // what the API knows it by
    std::string name;
    json promotion;
    std::optional<Error> error;  // why it is not promoted
    json task;                   // once it is queued; in the end as it ended

    bool runs() const { return true_at(at(task, "result"), "started"); }
};

// A VM that was not even found is one of those that are told about at the end.
Rescue look_at(const Context& context, const std::string& word) {
    const auto name = split_at_snapshot(word);
    Rescue rescue{name.vm, name.vm, {}, {}, {}};
    auto preview =
        context.get(path_of({"v1", "replicas", name.vm, "promote"}) +
                    (name.snapshot.empty() ? "" : query_of('?', "snapshot", name.snapshot)));
    if (!preview) {
        rescue.error = std::move(preview.error());
        return rescue;
    }
    rescue.promotion = at(*preview, "promotion");
    rescue.name = find_text(rescue.promotion, "vm").value_or(name.vm);
    return rescue;
}

// The daemon would refuse it in a moment; here the operator sees it before the question.
void check_ready(Rescue& rescue, const std::vector<std::string>& accepted) {
    std::string keys;
    for (const json& issue : list_at(rescue.promotion, "issues")) {
        const auto key = text_at(issue, "key");
        if (find_text(issue, "severity") != "blocks" || std::ranges::count(accepted, key) > 0)
            continue;
        keys += (keys.empty() ? "" : ", ") + key;
    }
    if (keys.empty()) return;
    rescue.error = Error(ErrorKind::refused, fmt::format("not ready: {}", keys))
                       .keeping("the replica as it was")
                       .advising("Mend it, or name it with --accept.");
}

std::string preview_text(const std::vector<Rescue>& rescues, TimePoint now) {
    Table table;
    for (const char* head : {"NAME", "SNAPSHOT", "LOST", "CONSISTENCY", "OWNER", "LAST CONTACT"})
        table.column(head);
    table.column("PROMOTE");
    std::string below;
    for (const auto& rescue : rescues) {
        const json& promotion = rescue.promotion;
        const json& snapshot = at(promotion, "snapshot");
        if (promotion.is_object())
            table.row({rescue.name, text_at(snapshot, "name"), duration_at(promotion, "age_ms"),
                       text_at(snapshot, "consistency"), text_at(promotion, "owner_name"),
                       age_at(promotion, "last_contact", now), rescue.error ? "NO" : "yes"});
        else
            table.row({rescue.name, "-", "-", "-", "-", "-", "NO"});
        const auto lines = issue_lines(list_at(promotion, "issues"));
        if (!lines.empty() || !promotion.is_object())
            below += fmt::format(
                "\n{}:\n{}", escape(rescue.name),
                promotion.is_object() ? lines : "  " + escape_lines(rescue.error->text()) + "\n");
    }
    return table.text() + below;
}

std::string outcome_text(const std::vector<Rescue>& rescues) {
    Table table;
    for (const char* head : {"NAME", "OUTCOME", "EPOCH", "UP AFTER"}) table.column(head);
    std::string below;
    for (const auto& rescue : rescues) {
        const json& result = at(rescue.task, "result");
        const bool owned = find_number(result, "epoch").has_value();
        table.row({rescue.name,
                   rescue.error    ? rescue.task.is_object() ? "FAILED" : "not promoted"
                   : rescue.runs() ? "runs here"
                                   : "owned here, not started",
                   owned ? number_at(result, "epoch") : "-",
                   rescue.runs() ? duration_at(result, "rto_ms") : "-"});
        if (rescue.error)
            below +=
                fmt::format("\n{}: {}\n", escape(rescue.name), escape_lines(rescue.error->text()));
    }
    return table.text() + below;
}

void begin(const Context& context, Rescue& rescue, json body) {
    // What was shown is what was agreed to, also when a newer snapshot arrived meanwhile.
    if (const auto id = find_text(at(rescue.promotion, "snapshot"), "id")) body["snapshot"] = *id;
    auto answer =
        context.call(request("POST", path_of({"v1", "replicas", rescue.word, "promote"}), body));
    auto task = answer ? task_of(*answer) : std::unexpected(std::move(answer.error()));
    if (task)
        rescue.task = std::move(*task);
    else
        rescue.error = std::move(task.error());
}

// An end that this command did not see is told as an error, too: it is not known.
void see_end(const Context& context, Rescue& rescue) {
    auto answer = wait_for_task(context, rescue.task);
    if (answer) rescue.task = at(*answer, "task");
    auto outcome = answer ? outcome_of(rescue.task) : std::unexpected(std::move(answer.error()));
    if (!outcome) rescue.error = std::move(outcome.error());
}

json document(const std::vector<Rescue>& rescues) {
    auto promotions = json::array();
    for (const auto& rescue : rescues)
        promotions.push_back(
            {{"vm", rescue.name},
             {"promotion", rescue.promotion},
             {"task", rescue.task},
             {"error", rescue.error ? json(rescue.error->text()) : json(nullptr)}});
    return {{"promotions", std::move(promotions)}};
}

// 3 when a promise was in the way of each of them, 1 when only some came up.
Result<Exit> conclusion(const std::vector<Rescue>& rescues) {
    std::string failed;
    std::size_t failures = 0;
    bool all_refused = true;
    for (const auto& rescue : rescues) {
        if (!rescue.error) continue;
        ++failures;
        failed += (failed.empty() ? "" : ", ") + rescue.name;
        all_refused = all_refused && rescue.error->kind() == ErrorKind::refused;
    }
    if (failures == 0) return Exit::done;
    const bool refused = all_refused && failures == rescues.size();
    return fail(
        refused ? ErrorKind::refused : ErrorKind::internal,
        fmt::format("{} of {} were not promoted as wished: {}", failures, rescues.size(), failed));
}

Result<std::vector<Rescue>> chosen(const Context& context, const Arguments& arguments) {
    auto words = arguments.all("VM");
    if (arguments.has("all")) {
        auto replicas = replicas_of(context, arguments.find("peer"));
        if (!replicas) return std::unexpected(std::move(replicas.error()));
        for (const json& replica : *replicas) words.push_back(text_at(replica, "id"));
    }
    std::vector<Rescue> rescues;
    for (const auto& word : words) {
        rescues.push_back(look_at(context, word));
        if (!rescues.back().error) check_ready(rescues.back(), arguments.all("accept"));
    }
    return rescues;
}

Result<> agree(const Context& context, const std::vector<Rescue>& rescues) {
    const auto text = preview_text(rescues, context.world().now());
    if (context.settings().yes) {
        context.note(text);
        return {};
    }
    const auto ready = static_cast<std::size_t>(
        std::ranges::count_if(rescues, [](const auto& rescue) { return !rescue.error; }));
    context.world().err << text << kSplitBrain << "\n\n";
    if (ready == 0) return {};  // there is nothing to agree to
    return confirm_by_typing(context, "how many VMs are promoted", std::to_string(ready));
}

}  // namespace

Result<Exit> promote_several(Context& context, const Arguments& arguments) {
    auto body = promote_body(arguments);
    if (!body) return fail(std::move(body.error()));
    const bool dry_run = arguments.has("dry-run");
    if (!dry_run) UNDERSTUDY_TRY(may_ask(context, "replica promote"));
    auto rescues = chosen(context, arguments);
    if (!rescues) return fail(std::move(rescues.error()));
    if (rescues->empty()) {
        context.note("No replicas here, or none from that peer.");
        if (context.json()) context.print_json(document(*rescues));
        return Exit::done;
    }
    if (dry_run) {
        if (context.json())
            context.print_json(document(*rescues));
        else
            context.world().out << preview_text(*rescues, context.world().now()) << std::flush;
        return Exit::done;
    }
    UNDERSTUDY_TRY(agree(context, *rescues));
    const bool waits = !context.settings().no_wait;
    for (auto& rescue : *rescues) {
        if (!rescue.error) begin(context, rescue, *body);
        if (!waits && !context.json() && rescue.task.is_object())
            context.say(text_at(rescue.task, "id"));
    }
    for (auto& rescue : *rescues)
        if (waits && rescue.task.is_object()) see_end(context, rescue);
    if (context.json())
        context.print_json(document(*rescues));
    else if (waits)
        context.world().out << outcome_text(*rescues) << std::flush;
    else
        for (const auto& rescue : *rescues)
            if (rescue.error)
                context.note(escape(rescue.name) + ": " + escape_lines(rescue.error->text()));
    return conclusion(*rescues);
}

}  // namespace understudy::cli
