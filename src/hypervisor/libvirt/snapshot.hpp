#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "hypervisor/libvirt/pauses.hpp"
#include "ports/hypervisor.hpp"

#include <vector>

namespace understudy::libvirt {

// Switches the named disks of a running or paused domain to their overlays at one moment. The
// overlays exist, with their backing file in their header. When all disks are there already (a
// repeat after a crash) it is a success. conflict: the domain does not run.
// `still`, if any, is called before the switch with the domain paused, QEMU having drained and
// flushed all disks; a domain that ran goes on afterwards in any case. unavailable: that takes
// longer than kPauseLimit, as it does while a disk's storage is silent.
Result<model::Consistency> take_snapshot(Pauses& pauses, virDomainPtr domain,
                                         const std::vector<ports::DiskSwitch>& switches,
                                         Duration freeze_limit,
                                         const std::function<Result<>()>& still);
// Done also when the domain does not run or no agent is connected: nothing can be frozen then.
Result<> thaw(virDomainPtr domain);

}  // namespace understudy::libvirt
