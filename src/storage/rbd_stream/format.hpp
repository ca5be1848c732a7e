#pragma once

#include "ports/disk_file.hpp"

#include <memory>

namespace understudy::rbd_stream {

// The files of Ceph's `rbd`: writes `rbd export-diff` (v1), reads that and `rbd export
// --export-format 2`. Moments are called as the rbd driver calls its snapshots.
std::unique_ptr<ports::DiskFormat> rbd_format();

}  // namespace understudy::rbd_stream
