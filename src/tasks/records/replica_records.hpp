#pragma once

#include "engine/send_plan.hpp"
#include "model/transfer.hpp"
#include "tasks/records/disk_records.hpp"

// What the kinds of tasks/replicas keep.
namespace understudy::tasks {

template <>
inline Result<engine::SendKind> word_to<engine::SendKind>(std::string_view word) {
    return engine::send_kind_from(word);
}

// ---- send ----

struct SendArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};
    SnapshotId snapshot = {};
    ClusterId peer = {};
    bool full = false;
    std::optional<SnapshotId> base = {};         // that the operator named
    std::uint64_t rate_bytes = 0;                // a second; 0: no limit
    std::optional<std::uint64_t> channels = {};  // nothing: as configured
    std::vector<std::string> accept = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
        field.required("snapshot", self.snapshot);
        field.required("peer", self.peer);
        field("full", self.full);
        field("base", self.base);
        field("rate_bytes", self.rate_bytes);
        field("channels", self.channels);
        field("accept", self.accept);
    }
};

// How a send travels, set by its step `plan`.
struct SendPlanRecord {
    engine::SendKind kind = {};
    std::optional<SnapshotId> base = {};
    std::vector<model::VolumeBase> resync = {};
    bool peer_lost_newest = false;  // our record says that the peer had it

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("kind", self.kind);
        field("base", self.base);
        field("resync", self.resync);
        field("peer_lost_newest", self.peer_lost_newest);
    }
};

struct SendMemo {
    static constexpr int kVersion = 1;
    std::optional<SendPlanRecord> plan = {};  // set by `plan`
    std::optional<TransferId> transfer = {};  // set by `transfer`
    std::vector<model::ReadinessIssue> readiness = {};
    std::optional<std::uint64_t> compared_bytes = {};
    std::optional<std::uint64_t> left_bytes = {};  // to be sent, when the last attempt began

    bool sends_nothing() const { return plan && plan->kind == engine::SendKind::nothing; }

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("plan", self.plan);
        field("transfer", self.transfer);
        field("readiness", self.readiness);
        field("compared_bytes", self.compared_bytes);
        field("left_bytes", self.left_bytes);
    }
    // Version 0 had the plan's fields beside the others.
    static void upgrade(nlohmann::json& j, int) {
        if (!j.contains("kind")) return;
        auto plan = nlohmann::json::object();
        for (const auto& [former, name] :
             {std::pair("kind", "kind"), std::pair("base", "base"), std::pair("resync", "resync"),
              std::pair("lost_known", "peer_lost_newest")})
            if (j.contains(former)) plan[name] = j[former];
        j["plan"] = std::move(plan);
    }
};

struct SendResult {
    static constexpr int kVersion = 1;
    std::optional<std::string> kind = {};
    std::optional<std::uint64_t> bytes = {};
    std::optional<std::uint64_t> wire_bytes = {};
    std::optional<double> seconds = {};
    std::optional<std::vector<model::ReadinessIssue>> readiness = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("kind", self.kind);
        field("bytes", self.bytes);
        field("wire_bytes", self.wire_bytes);
        field("seconds", self.seconds);
        field("readiness", self.readiness);
    }
};

// ---- replica_remove ----

struct ReplicaRemoveArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
    }
};

struct ReplicaRemoveMemo {
    static constexpr int kVersion = 1;
    std::map<VolumeId, std::string> volumes = {};  // to be deleted, and the pool of each

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("volumes", self.volumes);
    }
};

// ---- replica_tidy ----

struct ReplicaTidyArguments {
    static constexpr int kVersion = 1;
    VmId vm = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("vm", self.vm);
    }
};

struct ReplicaTidyMemo {
    static constexpr int kVersion = 1;
    FollowedDisks follow = {};

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field("follow", self.follow);
    }
};

}  // namespace understudy::tasks
