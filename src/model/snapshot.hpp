#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::model {

enum class Consistency {
    crash,       // as after a power cut: all disks at one instant
    filesystem,  // the guest's file systems were frozen for that instant
};

struct SnapshotDisk {
    std::string target;  // libvirt's name in the guest's definition: "vda"
    VolumeId volume;
    std::string pool;  // on the cluster that holds this record
    ByteSize size;     // virtual size at that moment
    bool operator==(const SnapshotDisk&) const = default;
};

// One moment of a VM: all its disks and its definition. Once published it does not change, except
// for `parent`, which becomes the grandparent when the parent is removed.
struct Snapshot {
    SnapshotId id;
    VmId vm;
    std::string name;  // for people; unique per VM
    std::optional<SnapshotId> parent;
    TimePoint taken;  // by the clock of the cluster that took it
    Consistency consistency = Consistency::crash;
    std::uint64_t epoch = 0;  // of the VM's ownership when it was taken
    ClusterId origin;         // the cluster that took it
    std::vector<SnapshotDisk> disks;
    bool operator==(const Snapshot&) const = default;
};

// Sorts parents before their children. If neither of two is above the other, the one with the lower
// epoch comes first, then the one with the earlier time. The last one is the newest. Time alone is
// not enough, because a clock may be set back, and the clocks of clusters differ.
void sort_by_lineage(std::vector<Snapshot>& snapshots);

// What else belongs to a snapshot. Kept apart from it, because listings do not need it.
struct Definition {
    std::string domain_xml;  // libvirt's inactive XML
    std::string nvram;       // UEFI variables, raw bytes; empty for a BIOS guest
    bool operator==(const Definition&) const = default;
};

enum class HoldKind {
    base,      // the newest snapshot common with a peer; `detail` is the peer's cluster id
    transfer,  // a send or receive in progress; `detail` is the transfer's or task's id
    user,      // an operator asked for it
    drill,     // a rehearsal runs on it; `detail` is the task's id
    branch,    // writes of a superseded line that exist here only; `detail` is the owner's epoch
};

// A reason why a snapshot must not be removed.
struct Hold {
    SnapshotId snapshot;
    HoldKind kind = HoldKind::user;
    std::string detail;
    bool operator==(const Hold&) const = default;
};

}  // namespace understudy::model
