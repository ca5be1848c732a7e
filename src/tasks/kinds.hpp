#pragma once

#include "tasks/work.hpp"

namespace understudy::tasks {

// Arguments of each kind are JSON objects; ids as UUID text.

inline constexpr std::string_view kKeepBranch = "keep_branch";
inline constexpr std::string_view kMove = "move";
inline constexpr std::string_view kPromote = "promote";
inline constexpr std::string_view kReplicaDrill = "replica_drill";  // only reads, too
inline constexpr std::string_view kReplicaRemove = "replica_remove";
inline constexpr std::string_view kResolve = "resolve";
inline constexpr std::string_view kReplicaRepair = "replica_repair";
inline constexpr std::string_view kReplicaTidy = "replica_tidy";
inline constexpr std::string_view kReplicaVerify = "replica_verify";  // only reads
inline constexpr std::string_view kSend = "send";
inline constexpr std::string_view kSnapshotCreate = "snapshot_create";
inline constexpr std::string_view kSnapshotExport = "snapshot_export";
inline constexpr std::string_view kSnapshotImport = "snapshot_import";

// vm, snapshot (id to be), name, freeze, branch?: of a superseded VM, and held as one
Kind snapshot_create();
Kind snapshot_remove();    // vm, snapshots [ids]
Kind snapshot_rollback();  // vm, snapshot
Kind send();               // vm, snapshot, peer, full, base?, rate_bytes, channels, accept []
Kind promote();            // vm, snapshot, start, accept []; of a handover also before, next
Kind move();               // vm, peer, start, limit_ms, force_off, accept []
Kind keep_branch();        // vm, snapshot (id to be), name, epoch
// vm, keep ("here", "there"), start, even_if_owner_runs; with as_new_vm (a name) also new_vm and
// new_snapshot (ids to be), start_new_vm, accept []
Kind resolve();
Kind release();          // vm
Kind replica_drill();    // vm, snapshot, wait, limit_ms, network
Kind replica_remove();   // vm
Kind replica_verify();   // vm, snapshot, repair, rate_bytes
Kind replica_repair();   // vm, snapshot, ranges [{target, offset, length}], rest, rate_bytes
Kind replica_tidy();     // vm
Kind snapshot_export();  // vm, snapshot, directory, format, base?, base_directory?
// vm (of a new VM: its id to be), directory, pool?; of a new VM also name, snapshot (id to be),
// base_directory?, accept [], start?; or instead of a directory `of`, a snapshot that is here
Kind snapshot_import();

std::vector<Kind> all_kinds();

}  // namespace understudy::tasks
