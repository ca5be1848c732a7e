#pragma once

#include "hypervisor/libvirt/pauses.hpp"
#include "ports/hypervisor.hpp"

#include <functional>
#include <vector>

namespace understudy::libvirt {

// As ports::Hypervisor::repair_interrupted_snapshot, for a snapshot during which libvirt ended.
// libvirt records a switch last. So QEMU may have layers, or run on layers, that libvirt does not
// know: it would try to make them again ("Duplicate nodes"), and their files look unused. This
// takes them out of QEMU. What the guest wrote to one is committed to the layer that libvirt knows.
// The files stay, but the guest's next writes are not in them. If libvirt has the VM on the
// overlays but had not written the definition yet, it is written now. QEMU is asked directly;
// libvirt notes that in the VM's log ("tainted: custom-monitor").
Result<> repair_interrupted_snapshot(Pauses& pauses, virDomainPtr domain,
                                     const std::vector<ports::DiskSwitch>& switches,
                                     const std::function<Result<>()>& on_overlays_stale);

}  // namespace understudy::libvirt
