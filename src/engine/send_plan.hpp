#pragma once

#include "model/proof.hpp"
#include "model/snapshot.hpp"
#include "model/vm.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::engine {

enum class SendKind { full, incremental, resync, nothing };

std::string_view to_string(SendKind);
Result<SendKind> send_kind_from(std::string_view);  // invalid: no kind has this word

struct SendQuestion {
    std::vector<model::Snapshot> here;  // all of the VM's snapshots on the source
    model::Snapshot snapshot;           // the one to send
    std::vector<SnapshotId> at_peer;    // what the peer holds of this VM
    bool full = false;                  // the operator forces a full send
    std::optional<SnapshotId> base;     // the base that the operator names
    // What the peer has of the snapshot's volumes, listed there or not. Nothing: the peer was not
    // asked, or it cannot tell.
    std::optional<std::vector<model::VolumeBase>> contents = {};
};

struct SendPlan {
    SendKind kind = SendKind::full;
    std::optional<SnapshotId> base;
    std::string reason;                          // why this kind, for the operator
    std::vector<model::VolumeBase> resync = {};  // what each disk is compared with and built on
};

// Chooses how a snapshot travels. invalid: the named base is no ancestor, or is not at the peer.
// unsupported: the peer has snapshots of the VM, but none in common, and cannot tell what content
// it has. Then only --full works.
Result<SendPlan> plan_send(const SendQuestion&);

// Whether the plan depends on SendQuestion::contents, because lineage finds nothing in common.
bool asks_for_contents(const SendQuestion&);

// The base of one disk: the plan's base if it has that volume, else nothing (the disk was added).
std::optional<SnapshotId> base_of_disk(const std::optional<model::Snapshot>& base,
                                       const VolumeId& volume);

// refused: one of the obstacles `blocks`, and the operator has not accepted it by its key.
Result<> check_obstacles(const std::vector<model::ReadinessIssue>& obstacles,
                         const std::vector<std::string>& accepted);

}  // namespace understudy::engine
