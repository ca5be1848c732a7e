#pragma once

#include "tasks/work.hpp"

namespace understudy::tasks {

// Arguments of each kind are JSON objects; ids as UUID text.

inline constexpr std::string_view kReplicaRemove = "replica_remove";
inline constexpr std::string_view kSend = "send";

Kind snapshot_create();    // vm, snapshot (id to be), name, freeze
Kind snapshot_remove();    // vm, snapshots [ids]
Kind snapshot_rollback();  // vm, snapshot
Kind send();               // vm, snapshot, peer, full, base?, rate_bytes, channels, accept []
Kind promote();            // vm, snapshot, start, accept []
Kind release();            // vm
Kind replica_remove();     // vm

std::vector<Kind> all_kinds();

}  // namespace understudy::tasks
