#pragma once

#include "model/snapshot.hpp"
#include "model/vm.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::engine {

enum class SendKind { full, incremental, nothing };

std::string_view to_string(SendKind);

struct SendQuestion {
    std::vector<model::Snapshot> here;  // all of the VM's snapshots on the source
    model::Snapshot snapshot;           // the one to send
    std::vector<SnapshotId> at_peer;    // what the peer holds of this VM
    bool full = false;                  // the operator forces a full send
    std::optional<SnapshotId> base;     // or names the base
};

struct SendPlan {
    SendKind kind = SendKind::full;
    std::optional<SnapshotId> base;
    std::string reason;  // why this kind, for the operator
};

// Chooses how a snapshot travels. invalid: the named base is not an ancestor or not at the peer.
// unsupported: the peer has the VM but nothing in common, which needs a resync; --full goes on.
Result<SendPlan> plan_send(const SendQuestion&);

// The base of one disk: the plan's base when it had that volume, else nothing (an added disk).
std::optional<SnapshotId> base_of_disk(const std::optional<model::Snapshot>& base,
                                       const VolumeId& volume);

// What stops a send of a VM with these obstacles: `blocks` ones that were not accepted by key.
Result<> check_obstacles(const std::vector<model::ReadinessIssue>& obstacles,
                         const std::vector<std::string>& accepted);

}  // namespace understudy::engine
