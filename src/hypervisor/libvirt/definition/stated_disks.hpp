#pragma once

#include "ports/hypervisor.hpp"

#include <string>
#include <vector>

namespace understudy::libvirt {

// The disks that travel (not CD-ROM, not floppy) as a definition from anywhere states them.
Result<std::vector<ports::DiskDescription>> stated_disks(const std::string& domain_xml);

}  // namespace understudy::libvirt
