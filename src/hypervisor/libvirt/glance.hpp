#pragma once

#include "base/error.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <cstdint>
#include <string>

// Looks at a running guest from outside, with the contracts of ports::Hypervisor.
namespace understudy::libvirt {

Result<std::string> screenshot(virDomainPtr domain);
Result<bool> agent_answers(virDomainPtr domain);
Result<bool> answers_on(virDomainPtr domain, const std::string& address, std::uint16_t port);

}  // namespace understudy::libvirt
