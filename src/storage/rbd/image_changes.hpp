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
// batches. Where RADOS has no record of what is different, both sides are read and compared.
Result<std::unique_ptr<ports::ExtentStream>> image_changes(const Images& images,
                                                           const std::optional<SnapshotPlace>& base,
                                                           const SnapshotPlace& until,
                                                           ByteOffset from);

// How much data such a listing has; nothing if counting would take long. For a head that is being
// written to, the figure is rough.
Result<std::optional<ByteSize>> changed_bytes(const Images& images,
                                              const std::optional<SnapshotPlace>& base,
                                              const SnapshotPlace& until);

// Whether a clone has objects of its own: somebody has written to it. Its size is not looked at.
Result<bool> has_own_data(const Images& images, const std::string& image);

// Whether an image's head may hold something that its snapshot does not, or has another size.
Result<bool> has_changed(const Images& images, const std::string& image, const SnapshotId& since);

}  // namespace understudy::rbd
