#include "tasks/disks/digests.hpp"

#include <algorithm>
#include <optional>

namespace understudy::tasks {

Result<ports::StoragePool*> find_volume(Site& site, const VolumeId& volume) {
    std::optional<Error> failed;
    for (const auto& [name, pool] : site.pools) {
        auto known = pool->knows(volume);
        if (!known)
            failed = std::move(known.error());
        else if (*known)
            return pool.get();
    }
    // The pool that did not answer may have the volume.
    if (failed) return fail(std::move(*failed));
    return nullptr;
}

Result<std::unique_ptr<mover::BlockDigests>> open_digests(ports::StoragePool& pool,
                                                          const VolumeId& volume,
                                                          const SnapshotId& snapshot,
                                                          mover::BlockDigests::Pace pace) {
    auto reader = UNDERSTUDY_VALUE(pool.open_snapshot(volume, snapshot));
    return std::make_unique<mover::BlockDigests>(
        std::move(reader),
        [&pool, volume, snapshot](ByteOffset from) {
            return pool.changes(volume, {}, snapshot, from);
        },
        std::move(pace));
}

Result<bool> pool_has(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id) {
    auto known = pool.knows(volume);
    if (!known || !*known) return known;
    auto snapshots = UNDERSTUDY_VALUE(pool.snapshots(volume));
    return std::find(snapshots.begin(), snapshots.end(), id) != snapshots.end();
}

}  // namespace understudy::tasks
