#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <cstdint>
#include <string>

namespace understudy::model {

// The result of the latest rehearsal of a replica's start here.
struct Drill {
    VmId vm;
    SnapshotId snapshot;
    std::string snapshot_name;  // at the time of the drill: the snapshot may be gone
    TimePoint ended;
    bool passed = false;
    std::uint64_t boot_ms = 0;   // from the guest's start to the check's answer; 0: none came
    std::uint64_t ready_ms = 0;  // the same, but from making its disks: what a promote would take
    std::string check;           // what was waited for, for people: "the guest agent"
    std::string outcome;         // the result, for people
    std::string node;            // where it ran
    std::string evidence;        // a directory on that node; empty: none could be kept
    bool operator==(const Drill&) const = default;
};

}  // namespace understudy::model
