#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::libvirt {

// Makes an embedded driver forget VMs whose start was cut off before QEMU was there. It should do
// so by itself, but libvirt 9.0 has them paused for ever then, and any call that changes them
// hangs. To be called before the driver opens `root`. No QEMU is lost: its process runs only once
// libvirt has written its pid into the status.
Result<> forget_half_started(const std::string& root);

}  // namespace understudy::libvirt
