#pragma once

#include "ports/storage.hpp"
#include "storage/rbd/frozen_image.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::rbd {

struct SnapshotPlace {
    std::string image;
    std::optional<SnapshotId> snapshot;  // none: the head
};

// Extents at or after `from` that may differ between base and until, or, without a base, that are
// allocated in until or its parents; as StoragePool::changes. Goes through the objects in bounded
// batches; where no record of RADOS tells what is different, both sides are read and compared.
Result<std::unique_ptr<ports::ExtentStream>> image_changes(const Images& images,
                                                           const std::optional<SnapshotPlace>& base,
                                                           const SnapshotPlace& until,
                                                           ByteOffset from);

// How much data such a listing tells, nothing where that would take long to count. About as much of
// a head that is being written to.
Result<std::optional<ByteSize>> changed_bytes(const Images& images,
                                              const std::optional<SnapshotPlace>& base,
                                              const SnapshotPlace& until);

// Whether a clone has no data of its own (yet): nobody wrote to it, or all of it was undone.
Result<bool> has_own_data(const Images& images, const std::string& image);

// Whether an image's head may hold anything else than its snapshot does, its size included.
Result<bool> has_changed(const Images& images, const std::string& image, const SnapshotId& since);

}  // namespace understudy::rbd
