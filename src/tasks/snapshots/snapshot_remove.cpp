#include "tasks/disks/removal.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

// `unlist` remembers the snapshots' disks and takes the snapshots out of the catalog, all that no
// hold protects; from then on they do not exist. `merge` gives their space back.

namespace understudy::tasks {
namespace {

const SnapshotRemoveArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotRemoveArguments>();
}

SnapshotRemoveMemo& memo_of(Work& work) {
    return work.memo<SnapshotRemoveMemo>();
}

Result<> unlist(Work& work) {
    auto& catalog = work.site().catalog;
    for (const auto& id : arguments_of(work).snapshots) {
        auto listed = UNDERSTUDY_VALUE(catalog.find_snapshot(id));
        if (!listed) continue;  // an earlier attempt unlisted it; the memo has its disks
        memo_of(work).removed[id] = listed->disks;
        UNDERSTUDY_TRY(work.save_memo());
        UNDERSTUDY_TRY(catalog.remove_snapshot(id));
        work.log(fmt::format("snapshot '{}' is no longer listed", listed->name));
    }
    return {};
}

Result<> merge(Work& work) {
    const auto vm = arguments_of(work).vm;
    for (const auto& [id, disks] : memo_of(work).removed) {
        // A snapshot that a hold protected is still listed, and stays whole.
        auto listed = UNDERSTUDY_VALUE(work.site().catalog.find_snapshot(id));
        if (listed) continue;
        UNDERSTUDY_TRY(remove_from_volumes(work, memo_of(work).follow, vm, disks, id));
    }
    return {};
}

}  // namespace

// A removal that was refused half-way still merges what it had unlisted.
Kind snapshot_remove() {
    return {.name = kSnapshotRemove,
            .records = records_of<SnapshotRemoveArguments, SnapshotRemoveMemo>(),
            .steps = {{.name = "unlist", .run = unlist},
                      {.name = "merge", .run = merge, .must_go_on = true}},
            .on_failure = merge};
}

}  // namespace understudy::tasks
