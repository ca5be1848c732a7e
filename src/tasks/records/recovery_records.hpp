#pragma once

#include "model/snapshot.hpp"
#include "model/vm.hpp"
#include "tasks/records/record.hpp"

// What the kinds of tasks/recovery keep.
namespace understudy::tasks {

// ---- promote ----

struct PromoteArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    bool start = true;
    std::vector<std::string> accept = {};
    bool owner_may_answer = false;
    bool check = false;          // see whether it boots
    std::string wait = {};       // as of parse_boot_check
    std::uint64_t limit_ms = 0;  // for the guest to boot; 0: as configured
    // Only in a handover: what was agreed with the former owner.
    std::optional<model::Ownership> before = {};
    std::optional<model::Ownership> next = {};

    bool is_handover() const { return next.has_value(); }

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field("start", self.start);
        field("accept", self.accept);
        field("owner_may_answer", self.owner_may_answer);
        field("check", self.check);
        field("wait", self.wait);
        field("limit_ms", self.limit_ms);
        field("before", self.before);
        field("next", self.next);
    }
};

struct PromoteResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> vm = {};
    std::optional<model::Snapshot> snapshot = {};
    std::optional<std::uint64_t> epoch = {};
    std::optional<bool> started = {};
    std::optional<std::vector<std::string>> changes = {};
    std::optional<std::int64_t> rto_ms = {};
    std::optional<std::string> checked = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("vm", self.vm);
        field("snapshot", self.snapshot);
        field("epoch", self.epoch);
        field("started", self.started);
        field("changes", self.changes);
        field("rto_ms", self.rto_ms);
        field("checked", self.checked);
    }
};

struct PromoteMemo {
    static constexpr int kVersion = 1;
    std::optional<model::Ownership> before = {};  // the record when it was decided
    std::optional<model::Ownership> next = {};    // what was decided
    std::vector<std::string> changes = {};
    std::optional<PromoteResult> result_before_boot_check = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("before", self.before);
        field("next", self.next);
        field("changes", self.changes);
        field("result_before_boot_check", self.result_before_boot_check);
    }
    static void upgrade(nlohmann::json& j, int) {
        if (j.contains("told")) j["result_before_boot_check"] = j["told"];
    }
};

// ---- move ----

struct MoveArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    ClusterId peer = {};
    bool start = true;
    std::optional<std::uint64_t> limit_ms = {};  // for the guest to shut down
    bool force_off = false;
    std::uint64_t rate_bytes = 0;
    std::vector<std::string> accept = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("peer", self.peer);
        field("start", self.start);
        field("limit_ms", self.limit_ms);
        field("force_off", self.force_off);
        field("rate_bytes", self.rate_bytes);
        field("accept", self.accept);
    }
};

struct MoveMemo {
    static constexpr int kVersion = 1;
    std::optional<bool> was_running = {};
    bool rest_is_small = false;
    std::optional<TimePoint> stopped_at = {};
    std::optional<SnapshotId> last = {};        // the last snapshot
    std::optional<model::Ownership> next = {};  // given away: the target decides
    std::vector<model::VmDisk> disks = {};      // the VM's, when it was given away
    bool autostart = false;
    std::optional<std::string> refusal = {};      // why the target does not take it, or a cancel
    std::optional<model::Ownership> answer = {};  // what the target's answer made of the record
    std::optional<SnapshotId> departs_from = {};  // see see_all_kept
    bool departed = false;

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("was_running", self.was_running);
        field("rest_is_small", self.rest_is_small);
        field("stopped_at", self.stopped_at);
        field("last", self.last);
        field("next", self.next);
        field("disks", self.disks);
        field("autostart", self.autostart);
        field("refusal", self.refusal);
        field("answer", self.answer);
        field("departs_from", self.departs_from);
        field("departed", self.departed);
    }
};

struct MoveResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> peer = {};  // its name
    std::optional<std::uint64_t> epoch = {};
    std::optional<SnapshotId> snapshot = {};
    std::optional<std::uint64_t> wire_bytes = {};
    std::optional<bool> started = {};
    std::optional<std::int64_t> downtime_ms = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("peer", self.peer);
        field("epoch", self.epoch);
        field("snapshot", self.snapshot);
        field("wire_bytes", self.wire_bytes);
        field("started", self.started);
        field("downtime_ms", self.downtime_ms);
    }
};

// ---- resolve ----

struct ResolveArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    std::string keep = {};  // "here", "there"
    bool start = true;
    bool even_if_owner_runs = false;
    std::string as_new_vm = {};  // a name; empty: no new VM is made
    std::optional<VmId> new_vm = {};
    std::optional<SnapshotId> new_snapshot = {};
    bool start_new_vm = false;
    std::vector<std::string> accept = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("keep", self.keep);
        field("start", self.start);
        field("even_if_owner_runs", self.even_if_owner_runs);
        field("as_new_vm", self.as_new_vm);
        field("new_vm", self.new_vm);
        field("new_snapshot", self.new_snapshot);
        field("start_new_vm", self.start_new_vm);
        field("accept", self.accept);
    }
};

struct ResolveMemo {
    static constexpr int kVersion = 1;
    std::optional<model::Ownership> before = {};
    std::optional<model::Ownership> next = {};  // what was decided
    std::vector<model::VmDisk> disks = {};
    std::optional<SnapshotId> head_parent = {};
    std::optional<SnapshotId> departs_from = {};  // see see_all_kept

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("before", self.before);
        field("next", self.next);
        field("disks", self.disks);
        field("head_parent", self.head_parent);
        field("departs_from", self.departs_from);
    }
};

struct ResolveResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> vm = {};
    std::optional<std::string> kept = {};
    std::optional<std::string> owner = {};
    std::optional<std::uint64_t> epoch = {};
    std::optional<std::string> new_vm = {};
    std::optional<bool> started = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("vm", self.vm);
        field("kept", self.kept);
        field("owner", self.owner);
        field("epoch", self.epoch);
        field("new_vm", self.new_vm);
        field("started", self.started);
    }
};

}  // namespace understudy::tasks
