#pragma once

#include "ports/hypervisor.hpp"

#include <string>
#include <vector>

namespace understudy::memory {

// What stands in for a domain XML: one "WORD VALUE" a line.
//   vm NAME                          uuid UUID
//   disk TARGET FORMAT SIZE LOCATION (the location last: it may contain spaces)
//   network NAME                     nvram PATH
struct MachineDefinition {
    std::string name;
    VmId id;
    std::vector<ports::DiskDescription> disks;
    std::vector<std::string> networks;
    std::string nvram_path;
};

std::string format_definition(const MachineDefinition& definition);
Result<MachineDefinition> parse_definition(const std::string& text);

}  // namespace understudy::memory
