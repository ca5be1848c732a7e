#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "hypervisor/libvirt/definition/host_facts.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <string>
#include <vector>

namespace understudy::libvirt {

// Whether a QEMU whose modules are in these directories opens RBD images. If there are no modules
// at all, everything is built in, and it is taken to open them.
bool opens_images(const std::vector<std::string>& module_directories);

// Asks libvirt and the host. `has_secret` asks through the connection, later. arch and machine may
// be empty or unknown here.
Result<HostFacts> look_at_host(virConnectPtr connection, const std::string& arch,
                               const std::string& machine, bool wants_kvm);

// What guests could have besides what is in use, as the kernel estimates it.
Result<ByteSize> memory_to_spare();

}  // namespace understudy::libvirt
