#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::model {

enum class Phase {
    owned,         // this cluster may run the VM
    handing_over,  // given to another cluster; only that one can decide now
    replica,       // another cluster owns it
    superseded,    // was owned here, but another owner prevails: must not run here
};

// Which cluster may run a VM, as this cluster durably knows it.
struct Ownership {
    std::uint64_t epoch = 0;  // raised by one with each change of owner
    ClusterId owner;
    Phase phase = Phase::owned;
    bool operator==(const Ownership&) const = default;
};

struct VmDisk {
    std::string target;
    VolumeId volume;
    std::string pool;
    bool operator==(const VmDisk&) const = default;
};

// A VM that Understudy takes care of on this cluster: adopted here, or a replica.
struct Vm {
    VmId id;
    std::string name;
    Ownership ownership;
    bool autostart = false;     // what the operator set before Understudy took it over
    std::vector<VmDisk> disks;  // of the present head; of a replica: those of its newest snapshot
    std::optional<SnapshotId> head_parent;  // the snapshot that the present head was made on
    bool operator==(const Vm&) const = default;
};

// How far one peer is with one VM, as the source knows it.
struct Replication {
    VmId vm;
    ClusterId peer;
    SnapshotId snapshot;       // newest one complete and verified there
    TimePoint snapshot_taken;  // RPO is counted from here
    TimePoint sent;            // when the peer confirmed it
    std::string readiness;     // JSON array of ReadinessIssue, as the peer reported it
};

enum class Severity {
    blocks,  // a start there is impossible
    warns,   // it would start, but not in the same way as here
};

// Why a replica would not start at all, or not as it was.
struct ReadinessIssue {
    Severity severity = Severity::warns;
    std::string key;   // short and stable, to be accepted by name: "tpm", "network:lan"
    std::string text;  // for the operator, with what to do
    bool operator==(const ReadinessIssue&) const = default;
};

}  // namespace understudy::model
