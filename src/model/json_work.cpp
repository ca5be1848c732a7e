#include "model/json.hpp"

#include "model/json_read.hpp"

namespace understudy::model {

using detail::read;
using detail::to_text;
using nlohmann::json;

void to_json(json& j, const Cluster& v) {
    j = json{{"id", to_text(v.id)}, {"name", v.name}};
}

void from_json(const json& j, Cluster& v) {
    read(j, "id", v.id);
    read(j, "name", v.name);
}

void to_json(json& j, const Peer& v) {
    j = json{{"id", to_text(v.id)},
             {"name", v.name},
             {"address", v.address},
             {"certificate_pem", v.certificate_pem},
             {"fingerprint", v.fingerprint},
             {"networks", v.networks},
             {"pools", v.pools},
             {"rate_limit", v.rate_limit},
             {"last_contact", to_text(v.last_contact)},
             {"capabilities", v.capabilities}};
}

void from_json(const json& j, Peer& v) {
    read(j, "id", v.id);
    read(j, "name", v.name);
    read(j, "address", v.address);
    read(j, "certificate_pem", v.certificate_pem);
    read(j, "fingerprint", v.fingerprint);
    read(j, "networks", v.networks);
    read(j, "pools", v.pools);
    read(j, "rate_limit", v.rate_limit);
    read(j, "last_contact", v.last_contact);
    read(j, "capabilities", v.capabilities);
}

void to_json(json& j, const Replication& v) {
    j = json{{"vm", to_text(v.vm)},
             {"peer", to_text(v.peer)},
             {"snapshot", to_text(v.snapshot)},
             {"snapshot_taken", to_text(v.snapshot_taken)},
             {"sent", to_text(v.sent)},
             {"readiness", v.readiness}};
}

void from_json(const json& j, Replication& v) {
    read(j, "vm", v.vm);
    read(j, "peer", v.peer);
    read(j, "snapshot", v.snapshot);
    read(j, "snapshot_taken", v.snapshot_taken);
    read(j, "sent", v.sent);
    read(j, "readiness", v.readiness);
}

void to_json(json& j, const DurablePoint& v) {
    j = json{{"disk", v.disk}, {"offset", v.offset}};
}

void from_json(const json& j, DurablePoint& v) {
    read(j, "disk", v.disk);
    read(j, "offset", v.offset);
}

void to_json(json& j, const Totals& v) {
    j = json{{"chunks", v.chunks},
             {"bytes", v.bytes},
             {"digest_high", v.digest_high},
             {"digest_low", v.digest_low}};
}

void from_json(const json& j, Totals& v) {
    read(j, "chunks", v.chunks);
    read(j, "bytes", v.bytes);
    read(j, "digest_high", v.digest_high);
    read(j, "digest_low", v.digest_low);
}

void to_json(json& j, const TransferOffer& v) {
    j = json{{"id", to_text(v.id)},
             {"durable", v.durable},
             {"complete", v.complete},
             {"readiness", v.readiness}};
}

void from_json(const json& j, TransferOffer& v) {
    read(j, "id", v.id);
    read(j, "durable", v.durable);
    read(j, "complete", v.complete);
    read(j, "readiness", v.readiness);
}

void to_json(json& j, const TransferRequest& v) {
    j = json{{"vm", to_text(v.vm)},
             {"vm_name", v.vm_name},
             {"ownership", v.ownership},
             {"snapshot", v.snapshot},
             {"base", to_text(v.base)}};
}

void from_json(const json& j, TransferRequest& v) {
    read(j, "vm", v.vm);
    read(j, "vm_name", v.vm_name);
    read(j, "ownership", v.ownership);
    read(j, "snapshot", v.snapshot);
    read(j, "base", v.base);
}

void to_json(json& j, const Transfer& v) {
    j = json{{"id", to_text(v.id)},          {"source", to_text(v.source)},
             {"request", v.request},         {"durable", v.durable},
             {"received", v.received},       {"created", to_text(v.created)},
             {"updated", to_text(v.updated)}};
}

void from_json(const json& j, Transfer& v) {
    read(j, "id", v.id);
    read(j, "source", v.source);
    read(j, "request", v.request);
    read(j, "durable", v.durable);
    read(j, "received", v.received);
    read(j, "created", v.created);
    read(j, "updated", v.updated);
}

void to_json(json& j, const Progress& v) {
    j = json{{"done_bytes", v.done_bytes},
             {"total_bytes", v.total_bytes},
             {"wire_bytes", v.wire_bytes},
             {"rate_bytes", v.rate_bytes},
             {"note", v.note}};
}

void from_json(const json& j, Progress& v) {
    read(j, "done_bytes", v.done_bytes);
    read(j, "total_bytes", v.total_bytes);
    read(j, "wire_bytes", v.wire_bytes);
    read(j, "rate_bytes", v.rate_bytes);
    read(j, "note", v.note);
}

void to_json(json& j, const Task& v) {
    j = json{{"id", to_text(v.id)},
             {"kind", v.kind},
             {"vm", to_text(v.vm)},
             {"title", v.title},
             {"arguments", v.arguments},
             {"state", std::string(to_string(v.state))},
             {"step", v.step},
             {"memo", v.memo},
             {"result", v.result},
             {"progress", v.progress},
             {"attempts", v.attempts},
             {"error_kind", v.error_kind},
             {"error", v.error},
             {"cancel_requested", v.cancel_requested},
             {"created", to_text(v.created)},
             {"not_before", to_text(v.not_before)},
             {"started", to_text(v.started)},
             {"ended", to_text(v.ended)},
             {"lease_node", v.lease_node},
             {"lease_until", to_text(v.lease_until)}};
}

void from_json(const json& j, Task& v) {
    read(j, "id", v.id);
    read(j, "kind", v.kind);
    read(j, "vm", v.vm);
    read(j, "title", v.title);
    read(j, "arguments", v.arguments);
    read(j, "state", v.state);
    read(j, "step", v.step);
    read(j, "memo", v.memo);
    read(j, "result", v.result);
    read(j, "progress", v.progress);
    read(j, "attempts", v.attempts);
    read(j, "error_kind", v.error_kind);
    read(j, "error", v.error);
    read(j, "cancel_requested", v.cancel_requested);
    read(j, "created", v.created);
    read(j, "not_before", v.not_before);
    read(j, "started", v.started);
    read(j, "ended", v.ended);
    read(j, "lease_node", v.lease_node);
    read(j, "lease_until", v.lease_until);
}

void to_json(json& j, const TaskLogLine& v) {
    j = json{{"sequence", v.sequence}, {"time", to_text(v.time)}, {"text", v.text}};
}

void from_json(const json& j, TaskLogLine& v) {
    read(j, "sequence", v.sequence);
    read(j, "time", v.time);
    read(j, "text", v.text);
}

}  // namespace understudy::model
