#pragma once

#include "model/snapshot.hpp"
#include "tasks/records/disk_records.hpp"

// What the kinds of tasks/snapshots keep.
namespace understudy::tasks {

template <>
inline Result<model::Consistency> word_to<model::Consistency>(std::string_view word) {
    return model::consistency_from(word);
}

// ---- snapshot_create ----

struct SnapshotCreateArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};  // its id to be
    std::string name = {};
    bool freeze = true;
    bool branch = false;  // of a superseded VM, and held as a branch

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field.required("name", self.name);
        field("freeze", self.freeze);
        field("branch", self.branch);
    }
};

// The head that a disk gets, or stays on.
struct PreparedHead {
    std::string target = {};
    KeptSource source = {};
    bool overlay = true;     // false: the disk stays on the head that it has
    std::uint64_t size = 0;  // bytes

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("target", self.target);
        KeptSource::fields(self.source, field);
        field("overlay", self.overlay);
        field("size", self.size);
    }
};

struct SnapshotCreateMemo {
    static constexpr int kVersion = 1;
    std::optional<std::vector<model::VmDisk>> disks =
        {};                                  // the volumes, one per disk; set by `plan`
    std::vector<model::VmDisk> former = {};  // those that the VM had before
    std::optional<std::uint64_t> epoch = {};
    std::optional<std::vector<PreparedHead>> heads = {};  // what `prepare` made
    std::optional<std::string> domain_xml = {};           // saved when the moment begins, and kept
    // When an attempt at the moment began. Its outcome is unknown until `consistency` is set, or
    // the heads are forgotten, which resets this.
    std::optional<TimePoint> taken = {};
    bool stands_still = false;    // the VM ran and is to go on
    bool overlays_stale = false;  // they hold old data and are to be made anew
    std::optional<model::Consistency> consistency = {};  // the moment has passed

    bool moment_has_passed() const { return consistency.has_value(); }
    bool moment_is_open() const { return taken && !overlays_stale; }

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("disks", self.disks);
        field("former", self.former);
        field("epoch", self.epoch);
        field("switches", self.heads);
        field("domain_xml", self.domain_xml);
        field("taken", self.taken);
        field("stands_still", self.stands_still);
        field("overlays_spent", self.overlays_stale);
        field("consistency", self.consistency);
    }
};

struct SnapshotCreateResult {
    static constexpr int kVersion = 1;
    std::optional<model::Snapshot> snapshot = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("snapshot", self.snapshot);
    }
};

// ---- snapshot_remove ----

struct SnapshotRemoveArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    std::vector<SnapshotId> snapshots = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshots", self.snapshots);
    }
};

struct SnapshotRemoveMemo {
    static constexpr int kVersion = 1;
    std::map<SnapshotId, std::vector<model::SnapshotDisk>> removed = {};  // those that are unlisted
    FollowedDisks follow = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("removed", self.removed);
        field("follow", self.follow);
    }
};

// ---- snapshot_rollback ----

struct SnapshotRollbackArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    std::vector<std::string> accept = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field("accept", self.accept);
    }
};

struct SnapshotRollbackMemo {
    static constexpr int kVersion = 1;
    std::map<VolumeId, KeptSource> made = {};      // new heads beside the present ones
    std::map<VolumeId, KeptSource> in_place = {};  // heads that are taken back as they stand
    bool defining = false;  // the VM may be defined as it was in the snapshot
    std::optional<std::vector<model::VmDisk>> former = {};  // the VM's disks before

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("made", self.made);
        field("in_place", self.in_place);
        field("defining", self.defining);
        field("former", self.former);
    }
};

struct SnapshotRollbackResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> rolled_back_to = {};  // the snapshot's name

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("rolled_back_to", self.rolled_back_to);
    }
};

// ---- release ----

struct ReleaseArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
    }
};

struct ReleaseMemo {
    static constexpr int kVersion = 1;
    std::optional<model::Vm> vm = {};             // its record, before it is forgotten
    std::optional<model::Snapshot> merging = {};  // unlisted, and perhaps not merged yet
    FollowedDisks follow = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("vm", self.vm);
        field("merging", self.merging);
        field("follow", self.follow);
    }
};

struct ReleaseResult {
    static constexpr int kVersion = 1;
    std::optional<std::vector<std::string>> files = {};  // that the VM is on now

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("files", self.files);
    }
};

}  // namespace understudy::tasks
