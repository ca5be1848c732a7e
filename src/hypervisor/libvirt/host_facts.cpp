#include "hypervisor/libvirt/host_facts.hpp"

#include "base/fd.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/xml.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <libvirt/virterror.h>
#include <linux/kvm.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

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

bool kvm_works() {
    const Fd device(open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (!device) return false;
    const Fd machine(ioctl(device.get(), KVM_CREATE_VM, 0));
    return bool(machine);
}

Result<std::set<std::string>> active_networks(virConnectPtr connection) {
    virNetworkPtr* list = nullptr;
    const int count =
        virConnectListAllNetworks(connection, &list, VIR_CONNECT_LIST_NETWORKS_ACTIVE);
    if (count < 0) {
        auto error = last_error(connection, "list networks");
        // A libvirt without the network driver (embedded, or not installed) has none.
        if (error.kind() == ErrorKind::unsupported) return std::set<std::string>{};
        return fail(std::move(error));
    }
    std::set<std::string> names;
    for (int i = 0; i < count; ++i) {
        const NetworkHandle network(list[i]);
        if (const char* name = virNetworkGetName(network.get())) names.insert(name);
    }
    std::free(static_cast<void*>(list));
    return names;
}

std::set<std::string> host_bridges() {
    std::set<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator at("/sys/class/net", error), end; at != end;
         at.increment(error)) {
        if (error) break;
        if (std::filesystem::exists(at->path() / "bridge", error))
            names.insert(at->path().filename().string());
    }
    return names;
}

std::set<std::string> host_addresses() {
    std::set<std::string> found;
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return found;
    for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
        if (at->ifa_addr == nullptr) continue;
        const auto family = at->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const auto length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        char text[NI_MAXHOST] = {};
        if (getnameinfo(at->ifa_addr, static_cast<socklen_t>(length), text, sizeof text, nullptr, 0,
                        NI_NUMERICHOST) == 0)
            found.insert(text);
    }
    freeifaddrs(list);
    return found;
}

Result<bool> has_secret(virConnectPtr connection, const std::string& uuid) {
    const SecretHandle secret(virSecretLookupByUUIDString(connection, uuid.c_str()));
    if (secret) return true;
    auto error = last_error(connection, fmt::format("look up secret {}", uuid));
    if (error.kind() == ErrorKind::not_found) return false;
    return fail(std::move(error));
}

// "pc-q35-8.2" → {"pc-q35", 8, 2}; a name without a plain version at its end has none.
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

bool opens_images(const std::vector<std::string>& module_directories) {
    bool modular = false;
    for (const auto& directory : module_directories) {
        std::error_code error;
        for (std::filesystem::directory_iterator at(directory, error), end; at != end;
             at.increment(error)) {
            if (error) break;
            if (at->path().filename() == "block-rbd.so") return true;
            modular = modular || at->path().extension() == ".so";
        }
    }
    return !modular;
}

Result<HostFacts> look_at_host(virConnectPtr connection, const std::string& arch,
                               const std::string& machine, bool wants_kvm) {
    const Text capabilities(virConnectGetCapabilities(connection));
    if (!capabilities) return fail(last_error(connection, "read capabilities"));
    auto facts = facts_from_capabilities(capabilities.get(), arch);
    if (!facts) return error_of(facts);
    facts->exists = [](const std::string& path) {
        std::error_code error;
        return std::filesystem::exists(path, error);
    };
    facts->rbd = opens_images({fmt::format("/usr/lib/{}-linux-gnu/qemu", facts->host_arch),
                               "/usr/lib64/qemu", "/usr/lib64/qemu-kvm", "/usr/lib/qemu"});
    facts->has_secret = [connection](const std::string& uuid) {
        return has_secret(connection, uuid);
    };
    if (virConnectGetLibVersion(connection, &facts->libvirt) < 0)
        return fail(last_error(connection, "ask libvirt for its version"));
    facts->addresses = host_addresses();
    facts->bridges = host_bridges();
    auto networks = UNDERSTUDY_VALUE(active_networks(connection));
    facts->networks = std::move(networks);
    if (facts->machines.empty()) return facts;  // nothing of that architecture runs here

    const auto chosen = choose_machine(facts->machines, machine);
    const auto ask = [&](const char* type) {
        return Text(virConnectGetDomainCapabilities(connection, nullptr, facts->arch.c_str(),
                                                    chosen.empty() ? nullptr : chosen.c_str(), type,
                                                    0));
    };
    Text text;
    if (facts->arch == facts->host_arch && kvm_works()) text = ask("kvm");
    facts->kvm = text != nullptr;
    if (!text || !wants_kvm) text = ask("qemu");
    if (!text) return fail(last_error(connection, "read domain capabilities"));
    UNDERSTUDY_TRY(add_domain_capabilities(text.get(), *facts));
    return facts;
}

Result<ByteSize> memory_to_spare() {
    std::ifstream file("/proc/meminfo");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("MemAvailable:")) continue;
        return ByteSize(std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10) << 10);
    }
    return fail(ErrorKind::unavailable, "/proc/meminfo does not tell what memory is available");
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
