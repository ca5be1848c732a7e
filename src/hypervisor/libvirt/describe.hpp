#pragma once

#include "hypervisor/libvirt/handles.hpp"
#include "ports/hypervisor.hpp"

#include <map>
#include <string>
#include <vector>

// Looking at domains; changes nothing.
namespace understudy::libvirt {

Result<std::vector<ports::VmSummary>> list_domains(virConnectPtr connection);
// Name → UUID of every VM that libvirt has, defined or running.
Result<std::map<std::string, std::string>> names_in_use(virConnectPtr connection);
Result<ports::VmDescription> describe_domain(virDomainPtr domain);

// Where libvirt keeps UEFI variables whose file a definition leaves to it (firmware='efi' in
// libvirt 9.0 shows no path while the VM is stopped): NAME_VARS.fd in this directory.
std::string libvirt_nvram_dir(const std::string& uri);

// The bytes of a domain's UEFI variables; empty when it has none, or none yet.
Result<std::string> read_domain_nvram(virDomainPtr domain, const std::string& uri);

}  // namespace understudy::libvirt
