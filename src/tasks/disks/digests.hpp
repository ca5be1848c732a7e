#pragma once

#include "mover/block_digests.hpp"
#include "tasks/queue/site.hpp"

#include <memory>

// What this side's pools have of a volume, whatever the catalog lists. All of it only reads.
namespace understudy::tasks {

// The blocks of a snapshot's disk here.
Result<std::unique_ptr<mover::BlockDigests>> open_digests(ports::StoragePool& pool,
                                                          const VolumeId& volume,
                                                          const SnapshotId& snapshot,
                                                          mover::BlockDigests::Pace pace = {});

// The pool that knows a volume; nothing where none does.
Result<ports::StoragePool*> find_volume(Site& site, const VolumeId& volume);

// Whether a pool lists the snapshot; the catalog may not yet.
Result<bool> pool_has(ports::StoragePool& pool, const VolumeId& volume, const SnapshotId& id);

}  // namespace understudy::tasks
