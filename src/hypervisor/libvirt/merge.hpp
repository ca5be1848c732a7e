#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "ports/hypervisor.hpp"

#include <functional>
#include <string>

namespace understudy::libvirt {

// Merges the layer `top` of a running domain's disk into `base`, one or more layers below it, and
// waits until that is done. A job of the same kind that an earlier process left running is taken
// over. A merge whose top is not in the chain any more has happened. conflict: the domain does not
// run, the chain is another one, or something else's job is on the disk.
Result<> merge_layers(virDomainPtr domain, const std::string& target, const ports::LiveMerge& merge,
                      const std::function<bool()>& cancelled);

}  // namespace understudy::libvirt
