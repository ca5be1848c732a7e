#pragma once

#include "base/error.hpp"
#include "model/cluster.hpp"
#include "model/drill.hpp"
#include "model/event.hpp"
#include "model/proof.hpp"
#include "model/snapshot.hpp"
#include "model/task.hpp"
#include "model/transfer.hpp"
#include "model/vm.hpp"

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

// The one JSON form of the model: in the catalog, between peers, in the API, and printed by
// --format json. tests/golden fixes it. Times are RFC 3339, sizes are bytes, ids are UUID text.
// Unknown fields are ignored on reading, so that neighbouring versions can talk. from_json throws
// nlohmann's exceptions or std::invalid_argument, so parse_json is used where text comes from
// outside.

namespace understudy::base {

void to_json(nlohmann::json&, ByteSize);
void from_json(const nlohmann::json&, ByteSize&);
void to_json(nlohmann::json&, ByteOffset);
void from_json(const nlohmann::json&, ByteOffset&);

}  // namespace understudy::base

namespace understudy::model {

// The words used in JSON, SQL, CLI and docs. An unknown word gives `invalid`.
std::string_view to_string(Consistency);
std::string_view to_string(HoldKind);
std::string_view to_string(Phase);
std::string_view to_string(Severity);
std::string_view to_string(TaskState);
std::string_view to_string(ExtentKind);
std::string_view to_string(Codec);
Result<Consistency> consistency_from(std::string_view);
Result<HoldKind> hold_kind_from(std::string_view);
Result<Phase> phase_from(std::string_view);
Result<Severity> severity_from(std::string_view);
Result<TaskState> task_state_from(std::string_view);

void to_json(nlohmann::json&, const SnapshotDisk&);
void from_json(const nlohmann::json&, SnapshotDisk&);
void to_json(nlohmann::json&, const Snapshot&);
void from_json(const nlohmann::json&, Snapshot&);
void to_json(nlohmann::json&, const Hold&);
void from_json(const nlohmann::json&, Hold&);
void to_json(nlohmann::json&, const Ownership&);
void from_json(const nlohmann::json&, Ownership&);
void to_json(nlohmann::json&, const VmDisk&);
void from_json(const nlohmann::json&, VmDisk&);
void to_json(nlohmann::json&, const Vm&);
void from_json(const nlohmann::json&, Vm&);
void to_json(nlohmann::json&, const ReadinessIssue&);
void from_json(const nlohmann::json&, ReadinessIssue&);
void to_json(nlohmann::json&, const PoolCapability&);
void from_json(const nlohmann::json&, PoolCapability&);
void to_json(nlohmann::json&, const Capabilities&);
void from_json(const nlohmann::json&, Capabilities&);
void to_json(nlohmann::json&, const Cluster&);
void from_json(const nlohmann::json&, Cluster&);
void to_json(nlohmann::json&, const Peer&);
void from_json(const nlohmann::json&, Peer&);
void to_json(nlohmann::json&, const Replication&);
void from_json(const nlohmann::json&, Replication&);
void to_json(nlohmann::json&, const DurablePoint&);
void from_json(const nlohmann::json&, DurablePoint&);
void to_json(nlohmann::json&, const Totals&);
void from_json(const nlohmann::json&, Totals&);
void to_json(nlohmann::json&, const TransferOffer&);
void from_json(const nlohmann::json&, TransferOffer&);
// Without the definition, which is large and binary: protocol/ and catalog/ each store it in a way
// of their own.
void to_json(nlohmann::json&, const TransferRequest&);
void from_json(const nlohmann::json&, TransferRequest&);
void to_json(nlohmann::json&, const Transfer&);
void from_json(const nlohmann::json&, Transfer&);
void to_json(nlohmann::json&, const Progress&);
void from_json(const nlohmann::json&, Progress&);
void to_json(nlohmann::json&, const Task&);
void from_json(const nlohmann::json&, Task&);
void to_json(nlohmann::json&, const Event&);
void from_json(const nlohmann::json&, Event&);
void to_json(nlohmann::json&, const ByteRange&);
void from_json(const nlohmann::json&, ByteRange&);
void to_json(nlohmann::json&, const VolumeBase&);
void from_json(const nlohmann::json&, VolumeBase&);
void to_json(nlohmann::json&, const DiskRange&);
void from_json(const nlohmann::json&, DiskRange&);
void to_json(nlohmann::json&, const Verification&);
void from_json(const nlohmann::json&, Verification&);
void to_json(nlohmann::json&, const Drill&);
void from_json(const nlohmann::json&, Drill&);
void to_json(nlohmann::json&, const TaskLogLine&);
void from_json(const nlohmann::json&, TaskLogLine&);

// Makes a T of text. Every exception of the library becomes `invalid`: "WHAT is malformed: …".
// Instantiated in json.cpp for the types that come from outside or go there.
template <class T>
Result<T> parse_json(std::string_view text, std::string_view what);
template <class T>
std::string dump_json(const T& value);

}  // namespace understudy::model
