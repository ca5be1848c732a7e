#pragma once

#include <string_view>

namespace understudy::tasks {

// The kinds of task by the names that they have in the catalog: they stay as they are.
inline constexpr std::string_view kKeepBranch = "keep_branch";
inline constexpr std::string_view kMove = "move";
inline constexpr std::string_view kPromote = "promote";
inline constexpr std::string_view kRelease = "release";
inline constexpr std::string_view kReplicaDrill = "replica_drill";  // only reads, too
inline constexpr std::string_view kReplicaRemove = "replica_remove";
inline constexpr std::string_view kReplicaRepair = "replica_repair";
inline constexpr std::string_view kReplicaTidy = "replica_tidy";
inline constexpr std::string_view kReplicaVerify = "replica_verify";  // only reads
inline constexpr std::string_view kResolve = "resolve";
inline constexpr std::string_view kSend = "send";
inline constexpr std::string_view kSnapshotCreate = "snapshot_create";
inline constexpr std::string_view kSnapshotExport = "snapshot_export";
inline constexpr std::string_view kSnapshotImport = "snapshot_import";
inline constexpr std::string_view kSnapshotRemove = "snapshot_remove";
inline constexpr std::string_view kSnapshotRollback = "snapshot_rollback";

}  // namespace understudy::tasks
