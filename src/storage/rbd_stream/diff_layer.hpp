#pragma once

#include "ports/disk_file.hpp"
#include "storage/rbd_stream/export_stream.hpp"

#include <memory>

namespace understudy::rbd_stream {

// One diff of a file as a layer. unsupported: its records do not ascend and are too many to sort.
Result<std::unique_ptr<ports::DiskLayer>> make_layer(std::shared_ptr<const StreamFile> file,
                                                     const Diff& diff);

}  // namespace understudy::rbd_stream
