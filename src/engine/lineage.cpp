#include "engine/lineage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

// Questions about the snapshots of one VM, which are a tree by `parent`. Pure: no I/O. A parent
// that is not in the list ends a line, because it may exist on another cluster only. ancestry()
// ends even if parents form a circle. newest_point and find_snapshot take the list as
// sort_by_lineage orders it: the newest comes last.

namespace understudy::engine {

std::vector<SnapshotId> ancestry(const std::vector<Snapshot>& snapshots, const SnapshotId& id) {
    std::unordered_map<SnapshotId, const Snapshot*> by_id;
    for (const auto& snapshot : snapshots) by_id[snapshot.id] = &snapshot;
    std::vector<SnapshotId> line;
    std::optional<SnapshotId> next = id;
    while (next && line.size() <= snapshots.size()) {
        const auto found = by_id.find(*next);
        if (found == by_id.end()) break;
        line.push_back(*next);
        next = found->second->parent;
    }
    return line;
}

bool is_newer(const std::vector<Snapshot>& snapshots, const SnapshotId& a, const SnapshotId& b) {
    const auto find = [&](const SnapshotId& id) {
        return std::find_if(snapshots.begin(), snapshots.end(),
                            [&](const auto& snapshot) { return snapshot.id == id; });
    };
    const auto one = find(a);
    const auto other = find(b);
    if (a == b || one == snapshots.end() || other == snapshots.end()) return false;
    const auto above = [&](const SnapshotId& upper, const SnapshotId& lower) {
        const auto line = ancestry(snapshots, upper);
        return std::find(line.begin(), line.end(), lower) != line.end();
    };
    if (above(a, b)) return true;
    if (above(b, a)) return false;
    return std::tie(one->epoch, one->taken) > std::tie(other->epoch, other->taken);
}

std::optional<SnapshotId> newest_common_ancestor(const std::vector<Snapshot>& snapshots,
                                                 const SnapshotId& until,
                                                 const std::vector<SnapshotId>& at_peer) {
    const std::unordered_set<SnapshotId> there(at_peer.begin(), at_peer.end());
    for (const auto& ancestor : ancestry(snapshots, until))
        if (ancestor != until && there.contains(ancestor)) return ancestor;
    return std::nullopt;
}

std::optional<Snapshot> newest_point(const std::vector<Snapshot>& snapshots, const ClusterId& owner,
                                     const std::vector<model::Hold>& holds) {
    const auto held = [&](const Snapshot& snapshot, model::HoldKind kind,
                          const std::optional<std::string>& detail) {
        return std::ranges::any_of(holds, [&](const auto& hold) {
            return hold.snapshot == snapshot.id && hold.kind == kind &&
                   (!detail || hold.detail == *detail);
        });
    };
    std::optional<Snapshot> known;
    std::optional<Snapshot> otherwise;
    for (const auto& snapshot : snapshots) {
        if (held(snapshot, model::HoldKind::branch, {})) continue;
        otherwise = snapshot;
        if (snapshot.origin == owner || held(snapshot, model::HoldKind::base, owner.text()))
            known = snapshot;
    }
    return known ? known : otherwise;
}

Result<Snapshot> find_snapshot(const std::vector<Snapshot>& snapshots, std::string_view word) {
    if (snapshots.empty())
        return fail(Error(ErrorKind::not_found, "this VM has no snapshots")
                        .advising("Take one with `understudy vm snapshot create VM`."));
    if (word == "@newest" || word.empty()) return snapshots.back();
    for (const auto& snapshot : snapshots)
        if (snapshot.name == word || snapshot.id.text() == word) return snapshot;
    std::string known;
    const std::size_t shown = std::min<std::size_t>(snapshots.size(), 5);
    for (std::size_t i = snapshots.size() - shown; i < snapshots.size(); ++i)
        known += (known.empty() ? "" : ", ") + snapshots[i].name;
    return fail(Error(ErrorKind::not_found, fmt::format("no snapshot '{}'", word.substr(0, 128)))
                    .advising(fmt::format("The newest ones are: {}.", known)));
}

}  // namespace understudy::engine
