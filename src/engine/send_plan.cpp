#include "engine/send_plan.hpp"

#include "base/shell_word.hpp"
#include "engine/lineage.hpp"

#include <fmt/format.h>

#include <algorithm>

// Chooses how a snapshot travels, in this order: nothing, if the peer has it; full, if the operator
// says so; the base that the operator names; else the newest ancestor that both sides have. Without
// such an ancestor: a resync, if the peer has content of the disks, else full; if the peer has
// snapshots but cannot tell its content, there is no plan (unsupported). Pure: no I/O; the caller
// has asked the peer.

namespace understudy::engine {
namespace {

bool contains(const std::vector<SnapshotId>& ids, const SnapshotId& id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::string name_of(const std::vector<model::Snapshot>& snapshots, const SnapshotId& id) {
    for (const auto& snapshot : snapshots)
        if (snapshot.id == id) return snapshot.name;
    return id.text();
}

Result<SendPlan> plan_on_named_base(const SendQuestion& question) {
    const auto& base = *question.base;
    const auto name = name_of(question.here, base);
    const auto line = ancestry(question.here, question.snapshot.id);
    if (base == question.snapshot.id || !contains(line, base))
        return fail(Error(ErrorKind::invalid, fmt::format("'{}' is not an ancestor of '{}'", name,
                                                          question.snapshot.name))
                        .advising("Leave out --base to let the lineage decide."));
    if (!contains(question.at_peer, base))
        return fail(Error(ErrorKind::invalid, fmt::format("the peer does not hold '{}'", name))
                        .advising("Leave out --base to let the lineage decide."));
    return SendPlan{SendKind::incremental, base, fmt::format("base '{}' as asked", name)};
}

}  // namespace

std::string_view to_string(SendKind kind) {
    switch (kind) {
        case SendKind::full: return "full";
        case SendKind::incremental: return "incremental";
        case SendKind::resync: return "resync";
        case SendKind::nothing: return "nothing";
    }
    return "";
}

Result<SendKind> send_kind_from(std::string_view text) {
    for (const auto kind :
         {SendKind::full, SendKind::incremental, SendKind::resync, SendKind::nothing})
        if (to_string(kind) == text) return kind;
    return fail(ErrorKind::invalid, fmt::format("'{}' is not a kind of send", text.substr(0, 32)));
}

Result<SendPlan> plan_send(const SendQuestion& question) {
    if (contains(question.at_peer, question.snapshot.id))
        return SendPlan{SendKind::nothing, std::nullopt, "the peer holds this snapshot already"};
    if (question.full && question.base)
        return fail(ErrorKind::invalid, "--full and --base contradict each other");
    if (question.full) return SendPlan{SendKind::full, std::nullopt, "full as asked"};
    if (question.base) return plan_on_named_base(question);
    const auto base = newest_common_ancestor(question.here, question.snapshot.id, question.at_peer);
    if (base)
        return SendPlan{SendKind::incremental, base,
                        fmt::format("'{}' is the newest snapshot that both sides hold",
                                    name_of(question.here, *base))};
    if (question.contents && !question.contents->empty())
        return SendPlan{SendKind::resync, std::nullopt,
                        "no common snapshot, but the peer has content of its disks: only the "
                        "differences are sent",
                        *question.contents};
    if (!question.contents && !question.at_peer.empty())
        return fail(
            Error(ErrorKind::unsupported,
                  fmt::format("the peer has {} snapshot(s) of this VM, but none in common with "
                              "'{}'. To compare the two, the peer needs a newer version",
                              question.at_peer.size(), question.snapshot.name))
                .keeping("everything on both sides")
                .advising("Update the peer, or send everything with --full."));
    if (!question.at_peer.empty())
        return SendPlan{SendKind::full, std::nullopt,
                        "the peer holds other snapshots of this VM, and nothing of its disks"};
    return SendPlan{SendKind::full, std::nullopt, "the peer holds nothing of this VM"};
}

bool asks_for_contents(const SendQuestion& question) {
    return !question.full && !question.base && !contains(question.at_peer, question.snapshot.id) &&
           !newest_common_ancestor(question.here, question.snapshot.id, question.at_peer);
}

std::optional<SnapshotId> base_of_disk(const std::optional<model::Snapshot>& base,
                                       const VolumeId& volume) {
    if (!base) return std::nullopt;
    for (const auto& disk : base->disks)
        if (disk.volume == volume) return base->id;
    return std::nullopt;
}

Result<> check_obstacles(const std::vector<model::ReadinessIssue>& obstacles,
                         const std::vector<std::string>& accepted) {
    std::string texts;
    std::string flags;
    for (const auto& obstacle : obstacles) {
        if (obstacle.severity != model::Severity::blocks) continue;
        if (std::find(accepted.begin(), accepted.end(), obstacle.key) != accepted.end()) continue;
        texts += (texts.empty() ? "" : "; ") + obstacle.text;
        const auto flag = " --accept " + base::shell_word(obstacle.key);
        if (!flags.contains(flag)) flags += flag;
    }
    if (texts.empty()) return {};
    return fail(Error(ErrorKind::refused, texts)
                    .keeping("everything as it was")
                    .advising(fmt::format("To do it nevertheless, add{}", flags)));
}

}  // namespace understudy::engine
