#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "hypervisor/libvirt/pauses.hpp"
#include "ports/hypervisor.hpp"

#include <vector>

namespace understudy::libvirt {

// Switches the named disks of a running or paused domain to their overlays at one moment. The
// overlays exist, with their backing file in their header. If all disks are on them already (a
// repeat after a crash), that is a success. conflict: the domain does not run. `still`, if any, is
// called before the switch, while the domain is paused and QEMU has drained and flushed all disks.
// A domain that ran goes on afterwards in any case. unavailable: the pause takes longer than
// kPauseLimit, for example because a disk's storage is silent.
Result<model::Consistency> take_snapshot(Pauses& pauses, virDomainPtr domain,
                                         const std::vector<ports::DiskSwitch>& switches,
                                         Duration freeze_limit,
                                         const std::function<Result<>()>& still);
// Also succeeds if the domain does not run or no agent is connected: nothing can be frozen then.
Result<> thaw(virDomainPtr domain);

}  // namespace understudy::libvirt
