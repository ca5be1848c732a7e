#pragma once

#include "base/error.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <string>

namespace understudy::libvirt {

// Pure: why this <network> is not cut off from others ("it forwards (nat)"). Empty: it is cut off.
Result<std::string> way_out_of(const std::string& network_xml);

// refused: a guest on that network or bridge could reach other machines than guests and this host.
// not_found: there is no such network or bridge.
Result<> check_isolated(virConnectPtr connection, const std::string& name);

}  // namespace understudy::libvirt
