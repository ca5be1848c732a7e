#pragma once

#include "ports/hypervisor.hpp"

#include <memory>
#include <string>

namespace understudy::libvirt {

// The hypervisor at a libvirt URI: qemu:///system, qemu+unix:///system?socket=PATH, or
// qemu:///embed?root=DIR, where this process is itself the QEMU driver (see connection.hpp). UEFI
// variables of VMs that adapt() rewrites are kept in nvram_dir. unavailable: libvirt does not
// answer now. After a later outage each call connects again.
Result<std::unique_ptr<ports::Hypervisor>> open_libvirt(const std::string& uri,
                                                        const std::string& nvram_dir);

}  // namespace understudy::libvirt
