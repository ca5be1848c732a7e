#pragma once

#include "hypervisor/libvirt/pauses.hpp"
#include "ports/hypervisor.hpp"

#include <functional>
#include <vector>

namespace understudy::libvirt {

// After a snapshot that libvirt's own end cut off: QEMU may have layers, or even run on some, that
// libvirt knows nothing of, since it writes that down last. libvirt would tell it to make them once
// more ("Duplicate nodes"), and their files would be taken for unused. Takes them out of QEMU: what
// the guest wrote to one is committed to the layer that libvirt knows, so that what libvirt says of
// the VM's disks is true again. Their files stay, and hide what is written from then on: `spent` is
// called before that, with a VM paused that was switched. Failed from there on: it stays paused.
// If libvirt has the VM on the overlays, its definition, which comes last, says the same then.
// unavailable: it takes longer, or QEMU could not; the next call goes on. Or the VM is off.
// Asks QEMU directly, which libvirt notes in the VM's log ("tainted: custom-monitor").
Result<> settle_snapshot(Pauses& pauses, virDomainPtr domain,
                         const std::vector<ports::DiskSwitch>& switches,
                         const std::function<Result<>()>& spent);

}  // namespace understudy::libvirt
