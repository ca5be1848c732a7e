#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "hypervisor/libvirt/handles.hpp"
#include "hypervisor/libvirt/pauses.hpp"
#include "ports/hypervisor.hpp"

#include <vector>

// A domain's life, one call each, with the contracts of ports::Hypervisor.
namespace understudy::libvirt {

Result<ports::VmSummary> summary_of(virDomainPtr domain);
Result<> start(virDomainPtr domain);
Result<> shutdown(virDomainPtr domain, Duration limit);
Result<> stop(virDomainPtr domain);
Result<> pause(Pauses& pauses, virDomainPtr domain);
Result<> resume(Pauses& pauses, virDomainPtr domain);
Result<> set_disks(virDomainPtr domain, const std::vector<ports::DiskSwitch>& switches);
// Changes only the definition. The VM may run.
Result<> define_disks(virDomainPtr domain, const std::vector<ports::DiskSwitch>& switches);
Result<> define(virConnectPtr connection, const std::string& domain_xml);
Result<> undefine(virDomainPtr domain);  // conflict: it runs

}  // namespace understudy::libvirt
