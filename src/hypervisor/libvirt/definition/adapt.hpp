#pragma once

#include "hypervisor/libvirt/definition/host_facts.hpp"
#include "ports/hypervisor.hpp"

#include <string>

namespace understudy::libvirt {

// Rewrites a definition from elsewhere so that it starts on the host that `facts` describe, and
// lists each change and each reason why it would not start or not be the same. Pure but for
// `facts.exists` and `facts.has_secret`. If an issue is accepted by its key, the definition starts
// without the thing.
Result<ports::Adapted> adapt_definition(const ports::AdaptRequest& request, const HostFacts& facts);

// What look_at_host() must be asked about for this definition.
struct Wanted {
    std::string arch;
    std::string machine;
    bool kvm = false;
};
Result<Wanted> wanted_by(const std::string& domain_xml);

}  // namespace understudy::libvirt
