#include "hypervisor/libvirt/definition/host_facts.hpp"

#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

// Reads libvirt's <capabilities> and <domainCapabilities> into HostFacts: machines, emulator, CPU
// models, UEFI images that are on disk, displays, an emulated TPM. choose_machine takes the wanted
// machine type or the newest one of its family. Pure but for `facts.exists`.

namespace understudy::libvirt {
namespace {

Result<pugi::xml_document> parse(const std::string& xml, const char* what) {
    pugi::xml_document document;
    if (!document.load_buffer(xml.data(), xml.size()))
        return fail(ErrorKind::internal, fmt::format("libvirt's {} are not XML", what));
    return document;
}

std::set<std::string> values_of(pugi::xml_node node, std::string_view name) {
    std::set<std::string> values;
    for (const auto list : node.children("enum"))
        if (attribute_of(list, "name") == name)
            for (const auto value : list.children("value")) values.insert(text_of(value));
    return values;
}

// "pc-q35-8.2" → {"pc-q35", 8, 2}. A name that does not end in such a version has no family here.
struct Version {
    std::string family;
    int major = 0;
    int minor = 0;
};

Version version_of(const std::string& machine) {
    const auto dash = machine.rfind('-');
    if (dash == std::string::npos) return {};
    Version version;
    int used = 0;
    if (std::sscanf(machine.c_str() + dash + 1, "%d.%d%n", &version.major, &version.minor, &used) ==
            2 &&
        machine[dash + 1 + static_cast<std::size_t>(used)] == '\0')
        version.family = machine.substr(0, dash);
    return version;
}

}  // namespace

std::string choose_machine(const std::map<std::string, std::string>& machines,
                           const std::string& wanted) {
    if (machines.contains(wanted)) return wanted;
    const auto version = version_of(wanted);
    if (version.family.empty()) return {};
    std::string best;
    Version best_version;
    for (const auto& [name, canonical] : machines) {
        const auto here = version_of(name);
        if (here.family != version.family) continue;
        if (best.empty() ||
            std::pair(here.major, here.minor) > std::pair(best_version.major, best_version.minor)) {
            best = name;
            best_version = here;
        }
    }
    return best;
}

Result<HostFacts> facts_from_capabilities(const std::string& capabilities_xml,
                                          const std::string& arch) {
    auto document = UNDERSTUDY_VALUE(parse(capabilities_xml, "capabilities"));
    const auto root = document.child("capabilities");
    HostFacts facts;
    facts.host_arch = text_of(root.child("host").child("cpu").child("arch"));
    facts.arch = arch.empty() ? facts.host_arch : arch;
    for (const auto guest : root.children("guest")) {
        const auto of = guest.child("arch");
        if (attribute_of(of, "name") != facts.arch) continue;
        facts.emulator = text_of(of.child("emulator"));
        const auto add = [&facts](pugi::xml_node from) {
            for (const auto machine : from.children("machine")) {
                const auto name = text_of(machine);
                const auto canonical = attribute_of(machine, "canonical");
                facts.machines[name] = canonical.empty() ? name : canonical;
            }
        };
        add(of);
        for (const auto domain : of.children("domain")) add(domain);
    }
    return facts;
}

Result<> add_domain_capabilities(const std::string& domain_capabilities_xml, HostFacts& facts) {
    auto document = UNDERSTUDY_VALUE(parse(domain_capabilities_xml, "domain capabilities"));
    const auto root = document.child("domainCapabilities");
    if (const auto path = text_of(root.child("path")); !path.empty()) facts.emulator = path;
    for (const auto mode : root.child("cpu").children("mode")) {
        const auto name = attribute_of(mode, "name");
        if (name == "host-passthrough")
            facts.host_passthrough = attribute_of(mode, "supported") == "yes";
        if (name != "custom") continue;
        for (const auto model : mode.children("model")) {
            facts.cpu_models.insert(text_of(model));
            if (attribute_of(model, "usable") != "no")
                facts.usable_cpu_models.insert(text_of(model));
        }
    }
    for (const auto loader : root.child("os").child("loader").children("value"))
        if (const auto path = text_of(loader); facts.exists(path)) facts.loaders.push_back(path);
    const auto devices = root.child("devices");
    facts.graphics = values_of(devices.child("graphics"), "type");
    facts.tpm_emulator = values_of(devices.child("tpm"), "backendModel").contains("emulator");
    return {};
}

model::Capabilities as_capabilities(const HostFacts& facts) {
    model::Capabilities capabilities;
    capabilities.host_arch = facts.host_arch;
    std::set<std::string> networks = facts.networks;
    networks.insert(facts.bridges.begin(), facts.bridges.end());
    capabilities.networks.assign(networks.begin(), networks.end());
    for (const auto& [name, canonical] : facts.machines) capabilities.machines.push_back(name);
    capabilities.cpu_models.assign(facts.usable_cpu_models.begin(), facts.usable_cpu_models.end());
    capabilities.uefi = !facts.loaders.empty();
    capabilities.tpm = facts.tpm_emulator;
    capabilities.kvm = facts.kvm;
    return capabilities;
}

}  // namespace understudy::libvirt
