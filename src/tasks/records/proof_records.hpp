#pragma once

#include "model/proof.hpp"
#include "tasks/records/record.hpp"

// What the kinds of tasks/proof keep.
namespace understudy::tasks {

// ---- replica_verify ----

struct ReplicaVerifyArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    bool repair = false;
    std::uint64_t rate_bytes = 0;  // of disk read per second on each side; 0: no limit

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field("repair", self.repair);
        field("rate_bytes", self.rate_bytes);
    }
};

// How far a comparison is, and what it found so far.
struct ComparedSoFar {
    std::uint64_t disk = 0;
    ByteOffset offset = {};
    std::uint64_t found = 0;
    std::uint64_t differing = 0;  // bytes
    std::uint64_t wire_bytes = 0;
    std::vector<model::DiskRange> ranges = {};  // the first kMaxRepairedRanges

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("disk", self.disk);
        field("offset", self.offset);
        field("found", self.found);
        field("differing", self.differing);
        field("wire_bytes", self.wire_bytes);
        field("ranges", self.ranges);
    }
};

struct ReplicaVerifyMemo {
    static constexpr int kVersion = 1;
    ComparedSoFar account = {};
    std::optional<TaskId> next = {};  // the task that follows

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("account", self.account);
        field("next", self.next);
    }
};

struct ReplicaVerifyResult {
    static constexpr int kVersion = 1;
    std::optional<model::Verification> verification = {};
    std::optional<std::string> source_name = {};
    std::optional<std::uint64_t> verify_wire_bytes = {};
    std::optional<TaskId> next = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("verification", self.verification);
        field("source_name", self.source_name);
        field("verify_wire_bytes", self.verify_wire_bytes);
        field("next", self.next);
    }
};

// ---- replica_repair ----

struct ReplicaRepairArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    std::vector<model::DiskRange> ranges = {};
    bool rest = false;  // more ranges were found: the comparison that follows repairs them
    std::uint64_t rate_bytes = 0;

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field("ranges", self.ranges);
        field("rest", self.rest);
        field("rate_bytes", self.rate_bytes);
    }
};

struct ReplicaRepairMemo {
    static constexpr int kVersion = 1;
    std::optional<TaskId> next = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("next", self.next);
    }
};

struct ReplicaRepairResult {
    static constexpr int kVersion = 1;
    std::optional<std::uint64_t> repaired_bytes = {};
    std::optional<std::uint64_t> repair_wire_bytes = {};
    std::optional<TaskId> next = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("repaired_bytes", self.repaired_bytes);
        field("repair_wire_bytes", self.repair_wire_bytes);
        field("next", self.next);
    }
};

}  // namespace understudy::tasks
