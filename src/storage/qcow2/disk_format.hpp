#pragma once

#include "ports/disk_file.hpp"

#include <memory>

namespace understudy::qcow2 {

// A disk in one qcow2 file: whole, or an overlay that names its base's file, so that QEMU's tools
// open the chain. Reading one never follows that name: the file may come from anywhere.
std::unique_ptr<ports::DiskFormat> qcow2_format();

}  // namespace understudy::qcow2
