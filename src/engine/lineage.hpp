#pragma once

#include "model/snapshot.hpp"

#include <optional>
#include <vector>

namespace understudy::engine {

using model::Snapshot;

// `id` and its ancestors, newest first, as far as they are in `snapshots` (of one VM, any order).
std::vector<SnapshotId> ancestry(const std::vector<Snapshot>& snapshots, const SnapshotId& id);

// Whether `a` is a later moment of the VM than `b`: it is a descendant. If neither descends from
// the other, the one with the higher epoch is later, then the one with the later time. False if
// either is not in the list.
bool is_newer(const std::vector<Snapshot>& snapshots, const SnapshotId& a, const SnapshotId& b);

// The base for a send of `until`: its newest ancestor, not itself, that the peer holds, too.
std::optional<SnapshotId> newest_common_ancestor(const std::vector<Snapshot>& snapshots,
                                                 const SnapshotId& until,
                                                 const std::vector<SnapshotId>& at_peer);

// The point that a replica of `owner`'s VM would go on from: the newest snapshot of the owner's
// line. That is one that the owner took, or that is held as the base shared with the owner. If
// there is none, the newest snapshot that is not held as a branch. `snapshots` are sorted by
// lineage. Nothing: all are branches, or there is none.
std::optional<Snapshot> newest_point(const std::vector<Snapshot>& snapshots, const ClusterId& owner,
                                     const std::vector<model::Hold>& holds);

// How a person's word names a snapshot of one VM: its name, its UUID, or "@newest".
Result<Snapshot> find_snapshot(const std::vector<Snapshot>& snapshots, std::string_view word);

}  // namespace understudy::engine
