#pragma once

#include "tasks/queue/site.hpp"

#include <optional>
#include <vector>

namespace understudy::tasks {

// Rules for a snapshot that comes from outside: from a peer or from a file.

// Its name and parent as they can be here: a name that another snapshot has becomes NAME~ID, a
// parent that is not here becomes the base that it was made on.
Result<model::Snapshot> as_listed_here(Site& site, model::Snapshot snapshot,
                                       const std::optional<SnapshotId>& base);

// The source's base hold moves to the snapshot that came from it, unless that is an older one that
// came late: then the source keeps the newer one as base, and so does this side.
Result<std::vector<model::Hold>> base_hold(Site& site, const ClusterId& source,
                                           const model::Snapshot& incoming);

// No volume of another VM here, or of what is being received for one, may be written to, whatever
// ids are claimed. refused otherwise.
Result<> check_volumes_are_its_own(Site& site, const VmId& vm,
                                   const std::vector<model::SnapshotDisk>& disks);

}  // namespace understudy::tasks
