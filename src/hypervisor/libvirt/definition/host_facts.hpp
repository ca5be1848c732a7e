#pragma once

#include "base/error.hpp"
#include "model/cluster.hpp"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace understudy::libvirt {

// What this host can run, as far as a definition from elsewhere has to be changed for it.
struct HostFacts {
    std::string host_arch;
    std::string arch;                             // the guest architecture that was asked about
    std::map<std::string, std::string> machines;  // name or alias → canonical name; empty: none
    std::string emulator;                         // path of QEMU
    bool kvm = false;                             // hardware virtualization works
    bool host_passthrough = false;                // CPU mode
    std::set<std::string> cpu_models;             // known to QEMU
    std::set<std::string> usable_cpu_models;      // and runnable on this CPU
    std::vector<std::string> loaders;             // UEFI code images, present on disk
    std::set<std::string> graphics;               // types; empty: not known
    bool tpm_emulator = false;
    bool rbd = true;            // QEMU can open RBD images, as far as can be seen
    unsigned long libvirt = 0;  // its version, as major * 1000000 + minor * 1000 + release
    // Whether libvirt has the secret of that UUID. unsupported: this libvirt has no secrets.
    std::function<Result<bool>(const std::string&)> has_secret;
    // The VMs that libvirt has here, name → UUID.
    std::map<std::string, std::string> vms;
    std::set<std::string> networks;   // libvirt's, active
    std::set<std::string> bridges;    // of the host
    std::set<std::string> addresses;  // numeric, of the host's interfaces
    std::string nvram_dir;            // where UEFI variables of VMs from elsewhere are kept
    std::string own_nvram_dir;        // where libvirt keeps them, unless a definition says where
    std::function<bool(const std::string&)> exists;  // a path on this host
};

// Pure: what libvirt's <capabilities> say of one guest architecture (empty: the host's own).
Result<HostFacts> facts_from_capabilities(const std::string& capabilities_xml,
                                          const std::string& arch);
// Pure apart from `facts.exists`: adds what <domainCapabilities> say.
Result<> add_domain_capabilities(const std::string& domain_capabilities_xml, HostFacts& facts);

// The machine type to run a definition on: `wanted` or, if this host lacks that version, the newest
// version of the same family ("pc-q35-8.2" → "pc-q35-7.2"). Empty: the family is unknown here.
std::string choose_machine(const std::map<std::string, std::string>& machines,
                           const std::string& wanted);

model::Capabilities as_capabilities(const HostFacts& facts);

}  // namespace understudy::libvirt
