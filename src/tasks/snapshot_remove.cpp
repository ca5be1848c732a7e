#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// `unlist` remembers the snapshots' disks and takes the snapshots out of the catalog, all that no
// hold protects; from then on they do not exist. `merge` gives their space back.

namespace understudy::tasks {
namespace {

Result<> unlist(Work& work) {
    auto& catalog = work.site().catalog;
    for (const auto& text : texts_in(work.arguments(), "snapshots")) {
        auto id = SnapshotId::parse(text);
        if (!id) return std::unexpected(std::move(id.error()));
        auto listed = catalog.find_snapshot(*id);
        if (!listed) return std::unexpected(std::move(listed.error()));
        if (!*listed) continue;  // an earlier attempt unlisted it; the memo has its disks
        work.memo()["removed"][text] = (*listed)->disks;
        UNDERSTUDY_TRY(work.save_memo());
        UNDERSTUDY_TRY(catalog.remove_snapshot(*id));
        work.log(fmt::format("snapshot '{}' is no longer listed", (*listed)->name));
    }
    return {};
}

Result<> merge(Work& work) {
    const auto vm = id_in<VmId>(work.arguments(), "vm");
    const auto removed = work.memo().value("removed", nlohmann::json::object());
    for (const auto& [text, disks] : removed.items()) {
        auto id = SnapshotId::parse(text);
        if (!id) return std::unexpected(std::move(id.error()));
        // One that a hold protected is still listed: it stays whole.
        auto listed = work.site().catalog.find_snapshot(*id);
        if (!listed) return std::unexpected(std::move(listed.error()));
        if (*listed) continue;
        UNDERSTUDY_TRY(
            remove_from_volumes(work, vm, disks.get<std::vector<model::SnapshotDisk>>(), *id));
    }
    return {};
}

}  // namespace

// A removal that was refused half-way still merges what it had unlisted.
Kind snapshot_remove() {
    return Kind{"snapshot_remove", {{"unlist", unlist}, {"merge", merge, true}}, merge, true};
}

}  // namespace understudy::tasks
