#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <string>

namespace understudy::libvirt {

// The virtual size of a disk in a file, read from the file alone. It is up to date for a running
// VM, too, because QEMU changes it there at once. not_found; invalid: no qcow2; unsupported:
// another format.
Result<ByteSize> size_in_file(const std::string& path, const std::string& format);

}  // namespace understudy::libvirt
