#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "ports/hypervisor.hpp"

#include <vector>

namespace understudy::libvirt {

// Switches the named disks of a running or paused domain to their overlays at one moment. The
// overlays exist, with their backing file in their header. When all disks are there already (a
// repeat after a crash) it is a success. conflict: the domain does not run.
// `still`, if any, is called before the switch with the domain paused, QEMU having drained and
// flushed all disks; a domain that ran goes on afterwards in any case.
Result<model::Consistency> take_snapshot(virDomainPtr domain,
                                         const std::vector<ports::DiskSwitch>& switches,
                                         Duration freeze_limit,
                                         const std::function<Result<>()>& still);
// Done also when the domain does not run or no agent is connected: nothing can be frozen then.
Result<> thaw(virDomainPtr domain);

}  // namespace understudy::libvirt
