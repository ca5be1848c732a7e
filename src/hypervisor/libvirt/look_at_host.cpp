#include "hypervisor/libvirt/look_at_host.hpp"

#include "base/fd.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <libvirt/virterror.h>
#include <linux/kvm.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

// What this host can run, asked of libvirt (capabilities, networks, secrets) and of the host
// itself (bridges, addresses, QEMU's modules, memory). Nothing is changed or kept.
namespace understudy::libvirt {
namespace {

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

}  // namespace

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

}  // namespace understudy::libvirt
