#include "tasks/kinds.hpp"

#include "tasks/drills/kinds.hpp"
#include "tasks/files/kinds.hpp"
#include "tasks/owners/kinds.hpp"
#include "tasks/proof/kinds.hpp"
#include "tasks/recovery/kinds.hpp"
#include "tasks/replicas/kinds.hpp"
#include "tasks/snapshots/kinds.hpp"

namespace understudy::tasks {

std::vector<Kind> all_kinds() {
    return {snapshot_create(),   snapshot_remove(),
            snapshot_rollback(), send(),
            promote(),           release(),
            replica_remove(),    snapshot_export(),
            snapshot_import(),   replica_verify(),
            replica_repair(),    replica_drill(),
            replica_tidy(),      move(),
            keep_branch(),       resolve()};
}

}  // namespace understudy::tasks
