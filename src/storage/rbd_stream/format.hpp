#pragma once

#include "ports/disk_file.hpp"

#include <memory>

namespace understudy::rbd_stream {

// The files of Ceph's `rbd`: writes `rbd export-diff` (v1), reads that and `rbd export
// --export-format 2`. A moment has the name that the rbd driver gives to its snapshot.
std::unique_ptr<ports::DiskFormat> rbd_format();

}  // namespace understudy::rbd_stream
