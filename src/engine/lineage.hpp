#pragma once

#include "model/snapshot.hpp"

#include <optional>
#include <vector>

namespace understudy::engine {

using model::Snapshot;

// `id` and its ancestors, newest first, as far as `snapshots` (of one VM, any order) tells.
std::vector<SnapshotId> ancestry(const std::vector<Snapshot>& snapshots, const SnapshotId& id);

// Whether `a` is a later moment of the VM than `b`: a descendant, or, where lineage does not order
// them, of a higher epoch or a later time. False when either is not there.
bool is_newer(const std::vector<Snapshot>& snapshots, const SnapshotId& a, const SnapshotId& b);

// The base for a send of `until`: its newest proper ancestor that the peer also holds.
std::optional<SnapshotId> newest_common_ancestor(const std::vector<Snapshot>& snapshots,
                                                 const SnapshotId& until,
                                                 const std::vector<SnapshotId>& at_peer);

// The point that a replica of `owner`'s VM would go on from: its newest snapshot that is of the
// owner's line, which is one that the owner took or shares as a base, not what was written by
// another line and is kept beside it. Where none is known to be, the newest that is no branch.
std::optional<Snapshot> newest_point(const std::vector<Snapshot>& snapshots, const ClusterId& owner,
                                     const std::vector<model::Hold>& holds);

// How a person's word names a snapshot of one VM: its name, its UUID, or "@newest".
Result<Snapshot> find_snapshot(const std::vector<Snapshot>& snapshots, std::string_view word);

}  // namespace understudy::engine
