#include "model/json.hpp"

#include "model/json_fields.hpp"

// Clusters, peers, transfers, tasks and events as JSON. For each type its fields are named once,
// and to_json and from_json both use that list. The names are stored in catalogs and sent to peers,
// so they stay as they are. On reading, an unknown field is ignored and a missing one keeps its
// default. Pure.

namespace understudy::model {

using detail::read_fields;
using detail::write_fields;
using nlohmann::json;

constexpr auto kCluster = [](auto& v, auto field) {
    field("id", v.id);
    field("name", v.name);
};
void to_json(json& j, const Cluster& v) {
    write_fields(j, v, kCluster);
}
void from_json(const json& j, Cluster& v) {
    read_fields(j, v, kCluster);
}

constexpr auto kPeer = [](auto& v, auto field) {
    field("id", v.id);
    field("name", v.name);
    field("address", v.address);
    field("certificate_pem", v.certificate_pem);
    field("fingerprint", v.fingerprint);
    field("networks", v.networks);
    field("pools", v.pools);
    field("rate_limit", v.rate_limit);
    field("last_contact", v.last_contact);
    field("capabilities", v.capabilities);
};
void to_json(json& j, const Peer& v) {
    write_fields(j, v, kPeer);
}
void from_json(const json& j, Peer& v) {
    read_fields(j, v, kPeer);
}

constexpr auto kReplication = [](auto& v, auto field) {
    field("vm", v.vm);
    field("peer", v.peer);
    field("snapshot", v.snapshot);
    field("snapshot_taken", v.snapshot_taken);
    field("sent", v.sent);
    field("readiness", v.readiness);
};
void to_json(json& j, const Replication& v) {
    write_fields(j, v, kReplication);
}
void from_json(const json& j, Replication& v) {
    read_fields(j, v, kReplication);
}

constexpr auto kDurablePoint = [](auto& v, auto field) {
    field("disk", v.disk);
    field("offset", v.offset);
};
void to_json(json& j, const DurablePoint& v) {
    write_fields(j, v, kDurablePoint);
}
void from_json(const json& j, DurablePoint& v) {
    read_fields(j, v, kDurablePoint);
}

constexpr auto kTotals = [](auto& v, auto field) {
    field("chunks", v.chunks);
    field("bytes", v.bytes);
    field("digest_high", v.digest_high);
    field("digest_low", v.digest_low);
};
void to_json(json& j, const Totals& v) {
    write_fields(j, v, kTotals);
}
void from_json(const json& j, Totals& v) {
    read_fields(j, v, kTotals);
}

constexpr auto kTransferOffer = [](auto& v, auto field) {
    field("id", v.id);
    field("durable", v.durable);
    field("complete", v.complete);
    field("readiness", v.readiness);
};
void to_json(json& j, const TransferOffer& v) {
    write_fields(j, v, kTransferOffer);
}
void from_json(const json& j, TransferOffer& v) {
    read_fields(j, v, kTransferOffer);
}

constexpr auto kTransferRequest = [](auto& v, auto field) {
    field("vm", v.vm);
    field("vm_name", v.vm_name);
    field("ownership", v.ownership);
    field("snapshot", v.snapshot);
    field("base", v.base);
};
// `resync` and `holders` are written only if there are any, so that other requests look as they did
// before these fields existed.
void to_json(json& j, const TransferRequest& v) {
    write_fields(j, v, kTransferRequest);
    if (!v.resync.empty()) j["resync"] = v.resync;
    if (!v.holders.empty()) detail::write(j, "holders", v.holders);
}
void from_json(const json& j, TransferRequest& v) {
    read_fields(j, v, kTransferRequest);
    detail::read(j, "resync", v.resync);
    detail::read(j, "holders", v.holders);
}

constexpr auto kTransfer = [](auto& v, auto field) {
    field("id", v.id);
    field("source", v.source);
    field("request", v.request);
    field("durable", v.durable);
    field("received", v.received);
    field("created", v.created);
    field("updated", v.updated);
};
void to_json(json& j, const Transfer& v) {
    write_fields(j, v, kTransfer);
}
void from_json(const json& j, Transfer& v) {
    read_fields(j, v, kTransfer);
}

constexpr auto kProgress = [](auto& v, auto field) {
    field("done_bytes", v.done_bytes);
    field("total_bytes", v.total_bytes);
    field("wire_bytes", v.wire_bytes);
    field("rate_bytes", v.rate_bytes);
    field("note", v.note);
};
void to_json(json& j, const Progress& v) {
    write_fields(j, v, kProgress);
}
void from_json(const json& j, Progress& v) {
    read_fields(j, v, kProgress);
}

constexpr auto kTask = [](auto& v, auto field) {
    field("id", v.id);
    field("kind", v.kind);
    field("vm", v.vm);
    field("reads_only", v.reads_only);
    field("title", v.title);
    field("actor", v.actor);
    field("arguments", v.arguments);
    field("state", v.state);
    field("step", v.step);
    field("memo", v.memo);
    field("result", v.result);
    field("progress", v.progress);
    field("attempts", v.attempts);
    field("error_kind", v.error_kind);
    field("error", v.error);
    field("cancel_requested", v.cancel_requested);
    field("created", v.created);
    field("not_before", v.not_before);
    field("started", v.started);
    field("ended", v.ended);
    field("lease_node", v.lease_node);
    field("lease_until", v.lease_until);
};
void to_json(json& j, const Task& v) {
    write_fields(j, v, kTask);
}
void from_json(const json& j, Task& v) {
    read_fields(j, v, kTask);
}

constexpr auto kEvent = [](auto& v, auto field) {
    field("sequence", v.sequence);
    field("time", v.time);
    field("actor", v.actor);
    field("kind", v.kind);
    field("vm", v.vm);
    field("text", v.text);
    field("hash", v.hash);
};
void to_json(json& j, const Event& v) {
    write_fields(j, v, kEvent);
}
void from_json(const json& j, Event& v) {
    read_fields(j, v, kEvent);
}

constexpr auto kTaskLogLine = [](auto& v, auto field) {
    field("sequence", v.sequence);
    field("time", v.time);
    field("text", v.text);
};
void to_json(json& j, const TaskLogLine& v) {
    write_fields(j, v, kTaskLogLine);
}
void from_json(const json& j, TaskLogLine& v) {
    read_fields(j, v, kTaskLogLine);
}

}  // namespace understudy::model
