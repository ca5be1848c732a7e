#include "cli/commands/promote.hpp"
#include "cli/grammar/snapshot_name.hpp"
#include "cli/session/confirm.hpp"
#include "cli/session/replicas.hpp"
#include "cli/session/wait.hpp"
#include "cli/terminal/table.hpp"
#include "cli/terminal/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

// `replica promote` of several VMs: the previews, one table and one question, then all are queued,
// then each is waited for, and a table says what came of it. Whatever fails for one VM is kept as
// its error. When this command is cut off, what was queued goes on in the daemon.

namespace understudy::cli {

using nlohmann::json;

namespace {

// The promote of one VM: its preview first, then its task, and in the end how that ended.
struct Promotion {
    std::string word;  // what the API knows it by
    std::string name;
    json preview;                // what the API says that a promote would do
    std::optional<Error> error;  // why it is not promoted
    json task;                   // once it is queued; in the end as it ended

    bool runs() const { return true_at(at(task, "result"), "started"); }
};

// If the API knows no such VM, its error is kept, and is printed with the others at the end.
Promotion fetch_preview(const Context& context, const std::string& word) {
    const auto name = split_at_snapshot(word);
    Promotion promotion{name.vm, name.vm, {}, {}, {}};
    auto preview =
        context.get(path_of({"v1", "replicas", name.vm, "promote"}) +
                    (name.snapshot.empty() ? "" : query_of('?', "snapshot", name.snapshot)));
    if (!preview) {
        promotion.error = std::move(preview.error());
        return promotion;
    }
    promotion.preview = at(*preview, "promotion");
    promotion.name = find_text(promotion.preview, "vm").value_or(name.vm);
    return promotion;
}

// The daemon would refuse it in a moment; here the operator sees it before the question.
void check_ready(Promotion& promotion, const std::vector<std::string>& accepted) {
    std::string keys;
    for (const json& issue : list_at(promotion.preview, "issues")) {
        const auto key = text_at(issue, "key");
        if (find_text(issue, "severity") != "blocks" || std::ranges::count(accepted, key) > 0)
            continue;
        keys += (keys.empty() ? "" : ", ") + key;
    }
    if (keys.empty()) return;
    promotion.error = Error(ErrorKind::refused, fmt::format("not ready: {}", keys))
                          .keeping("the replica as it was")
                          .advising("Correct it, or accept it with --accept KEY.");
}

std::string preview_text(const std::vector<Promotion>& promotions, TimePoint now) {
    Table table;
    for (const char* head : {"NAME", "SNAPSHOT", "LOST", "CONSISTENCY", "OWNER", "LAST CONTACT"})
        table.column(head);
    table.column("PROMOTE");
    std::string below;
    for (const auto& promotion : promotions) {
        const json& preview = promotion.preview;
        const json& snapshot = at(preview, "snapshot");
        if (preview.is_object())
            table.row({promotion.name, text_at(snapshot, "name"), duration_at(preview, "age_ms"),
                       text_at(snapshot, "consistency"), text_at(preview, "owner_name"),
                       age_at(preview, "last_contact", now), promotion.error ? "NO" : "yes"});
        else
            table.row({promotion.name, "-", "-", "-", "-", "-", "NO"});
        const auto lines = issue_lines(list_at(preview, "issues"));
        if (!lines.empty() || !preview.is_object())
            below += fmt::format(
                "\n{}:\n{}", escape(promotion.name),
                preview.is_object() ? lines : "  " + escape_lines(promotion.error->text()) + "\n");
    }
    return table.text() + below;
}

std::string outcome_text(const std::vector<Promotion>& promotions) {
    Table table;
    for (const char* head : {"NAME", "OUTCOME", "EPOCH", "UP AFTER"}) table.column(head);
    std::string below;
    for (const auto& promotion : promotions) {
        const json& result = at(promotion.task, "result");
        const bool owned = find_number(result, "epoch").has_value();
        table.row({promotion.name,
                   promotion.error    ? promotion.task.is_object() ? "FAILED" : "not promoted"
                   : promotion.runs() ? "runs here"
                                      : "owned here, not started",
                   owned ? number_at(result, "epoch") : "-",
                   promotion.runs() ? duration_at(result, "rto_ms") : "-"});
        if (promotion.error)
            below += fmt::format("\n{}: {}\n", escape(promotion.name),
                                 escape_lines(promotion.error->text()));
    }
    return table.text() + below;
}

void queue_promotion(const Context& context, Promotion& promotion, json body) {
    // The operator said yes to the snapshot that was shown, also if a newer one arrived meanwhile.
    if (const auto id = find_text(at(promotion.preview, "snapshot"), "id")) body["snapshot"] = *id;
    auto answer =
        context.call(request("POST", path_of({"v1", "replicas", promotion.word, "promote"}), body));
    auto task = answer ? task_of(*answer) : std::unexpected(std::move(answer.error()));
    if (task)
        promotion.task = std::move(*task);
    else
        promotion.error = std::move(task.error());
}

// If the end of the task was not seen, that is an error, too: how it ended is unknown.
void wait_for_promotion(const Context& context, Promotion& promotion) {
    auto answer = wait_for_task(context, promotion.task);
    if (answer) promotion.task = at(*answer, "task");
    auto outcome = answer ? outcome_of(promotion.task) : std::unexpected(std::move(answer.error()));
    if (!outcome) promotion.error = std::move(outcome.error());
}

json as_json(const std::vector<Promotion>& promotions) {
    auto list = json::array();
    for (const auto& promotion : promotions)
        list.push_back(
            {{"vm", promotion.name},
             {"promotion", promotion.preview},
             {"task", promotion.task},
             {"error", promotion.error ? json(promotion.error->text()) : json(nullptr)}});
    return {{"promotions", std::move(list)}};
}

// 3 when a promise was in the way of each of them, 1 when only some came up.
Result<Exit> exit_code(const std::vector<Promotion>& promotions) {
    std::string failed;
    std::size_t failures = 0;
    bool all_refused = true;
    for (const auto& promotion : promotions) {
        if (!promotion.error) continue;
        ++failures;
        failed += (failed.empty() ? "" : ", ") + promotion.name;
        all_refused = all_refused && promotion.error->kind() == ErrorKind::refused;
    }
    if (failures == 0) return Exit::done;
    const bool refused = all_refused && failures == promotions.size();
    return fail(refused ? ErrorKind::refused : ErrorKind::internal,
                fmt::format("{} of {} were not promoted as wished: {}", failures, promotions.size(),
                            failed));
}

Result<std::vector<Promotion>> chosen_promotions(const Context& context,
                                                 const Arguments& arguments) {
    auto words = arguments.all("VM");
    if (arguments.has("all")) {
        auto replicas = UNDERSTUDY_VALUE(replicas_of(context, arguments.find("peer")));
        for (const json& replica : replicas) words.push_back(text_at(replica, "id"));
    }
    std::vector<Promotion> promotions;
    for (const auto& word : words) {
        promotions.push_back(fetch_preview(context, word));
        if (!promotions.back().error) check_ready(promotions.back(), arguments.all("accept"));
    }
    return promotions;
}

Result<> confirm_promotions(const Context& context, const std::vector<Promotion>& promotions) {
    const auto text = preview_text(promotions, context.world().now());
    if (context.settings().yes) {
        context.print_note(text);
        return {};
    }
    const auto ready = static_cast<std::size_t>(
        std::ranges::count_if(promotions, [](const auto& promotion) { return !promotion.error; }));
    context.world().err << text << kOwnerLosesVm << "\n\n";
    if (ready == 0) return {};  // there is nothing to confirm
    return confirm_by_typing(context, "how many VMs are promoted", std::to_string(ready));
}

}  // namespace

Result<Exit> promote_several(Context& context, const Arguments& arguments) {
    auto body = UNDERSTUDY_VALUE(promote_body(arguments));
    const bool dry_run = arguments.has("dry-run");
    if (!dry_run) UNDERSTUDY_TRY(check_can_ask(context, "replica promote"));
    auto promotions = UNDERSTUDY_VALUE(chosen_promotions(context, arguments));
    if (promotions.empty()) {
        context.print_note("No replicas here, or none from that peer.");
        if (context.json()) context.print_json(as_json(promotions));
        return Exit::done;
    }
    if (dry_run) {
        if (context.json())
            context.print_json(as_json(promotions));
        else
            context.world().out << preview_text(promotions, context.world().now()) << std::flush;
        return Exit::done;
    }
    UNDERSTUDY_TRY(confirm_promotions(context, promotions));
    const bool waits = !context.settings().no_wait;
    for (auto& promotion : promotions) {
        if (!promotion.error) queue_promotion(context, promotion, body);
        if (!waits && !context.json() && promotion.task.is_object())
            context.print_line(text_at(promotion.task, "id"));
    }
    for (auto& promotion : promotions)
        if (waits && promotion.task.is_object()) wait_for_promotion(context, promotion);
    if (context.json())
        context.print_json(as_json(promotions));
    else if (waits)
        context.world().out << outcome_text(promotions) << std::flush;
    else
        for (const auto& promotion : promotions)
            if (promotion.error)
                context.print_note(escape(promotion.name) + ": " +
                                   escape_lines(promotion.error->text()));
    return exit_code(promotions);
}

}  // namespace understudy::cli
