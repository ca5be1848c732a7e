#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "ports/hypervisor.hpp"

#include <functional>
#include <string>

namespace understudy::libvirt {

// Merges the layer `top` of a running domain's disk into `base`, one or more layers below it, and
// waits until that is done. If an earlier process left a job of the same kind running, that is
// taken over. If `top` is no longer in the chain, the merge has happened. conflict: the domain does
// not run, the chain is another one, or another job is on the disk.
Result<> merge_layers(virDomainPtr domain, const std::string& target, const ports::LiveMerge& merge,
                      const std::function<bool()>& cancelled);

}  // namespace understudy::libvirt
