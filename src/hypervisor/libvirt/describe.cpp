#include "hypervisor/libvirt/describe.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/definition/obstacles.hpp"
#include "hypervisor/libvirt/file_size.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/lifecycle.hpp"
#include "hypervisor/libvirt/nvram_file.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cstdlib>

// Looks at domains: lists them, and describes one with its disks, their sizes, its definition and
// what of it cannot travel. The definition and the present XML are read one after the other, and a
// disk about which they disagree is `unsupported`. Sizes come from libvirt, but from the files
// while a VM with images in Ceph runs. Nothing is changed or kept.

namespace understudy::libvirt {
namespace {

// The definition that the VM starts with next time, and what it is now.
struct Xmls {
    std::string definition;
    std::string current;
    bool persistent = true;
};

Result<Xmls> read_xmls(virDomainPtr domain) {
    const int persistent = virDomainIsPersistent(domain);
    if (persistent < 0) return fail(domain_error(domain, "look at"));
    auto definition = UNDERSTUDY_VALUE(domain_xml(domain, VIR_DOMAIN_XML_INACTIVE));
    auto current = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    return Xmls{std::move(definition), std::move(current), persistent == 1};
}

Result<std::vector<DomainHandle>> all_domains(virConnectPtr connection) {
    virDomainPtr* domains = nullptr;
    const int count = virConnectListAllDomains(connection, &domains, 0);
    if (count < 0) return fail(last_error(connection, "list VMs"));
    std::vector<DomainHandle> owned;
    for (int i = 0; i < count; ++i) owned.emplace_back(domains[i]);
    std::free(static_cast<void*>(domains));
    return owned;
}

Result<ByteSize> size_by_libvirt(virDomainPtr domain, const ports::DiskDescription& disk) {
    virDomainBlockInfo info{};
    if (virDomainGetBlockInfo(domain, disk.target.c_str(), &info, 0) == 0)
        return ByteSize(info.capacity);
    return fail(domain_error(domain, fmt::format("look at {} of", disk.source.location)));
}

// While a VM is stopped, libvirt does not know the size of an image in Ceph. While it runs, a
// question about any disk's size makes QEMU read all its images: if Ceph is silent, no call for
// this VM would come back.
Result<> add_sizes(virDomainPtr domain, bool running, std::vector<ports::DiskDescription>& disks) {
    const auto is_image = [](const auto& disk) { return disk.source.type == "network"; };
    const bool from_files = running && std::ranges::any_of(disks, is_image);
    for (auto& disk : disks) {
        if (is_image(disk) || (from_files && disk.source.type != "file")) continue;
        auto size = from_files ? size_in_file(disk.source.location, disk.source.format)
                               : size_by_libvirt(domain, disk);
        if (size) {
            disk.size = *size;
            continue;
        }
        // That libvirt is gone says nothing about the disk.
        if (virConnectIsAlive(virDomainGetConnect(domain)) != 1) return error_of(size);
        if (disk.unsupported.empty()) disk.unsupported = size.error().what();
    }
    return {};
}

Result<> add_obstacles(virDomainPtr domain, const Xmls& xmls,
                       std::vector<model::ReadinessIssue>& obstacles) {
    using model::Severity;
    auto found = UNDERSTUDY_VALUE(obstacles_in(xmls.definition));
    obstacles = std::move(found);
    if (!xmls.persistent)
        obstacles.push_back({Severity::blocks, "transient",
                             "the VM has no definition and vanishes when it stops; make one with "
                             "`virsh dumpxml VM | virsh define /dev/stdin`"});
    const int saved = virDomainHasManagedSaveImage(domain, 0);
    if (saved < 0) virResetLastError();
    if (saved == 1)
        obstacles.push_back({Severity::blocks, "managed-save",
                             "the VM's memory was saved with `virsh managedsave` and does not "
                             "travel; start the VM and shut it down"});
    auto secure =
        UNDERSTUDY_VALUE(domain_xml(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE));
    auto password = UNDERSTUDY_VALUE(has_graphics_password(secure));
    if (password)
        obstacles.push_back({Severity::warns, "graphics-password",
                             "the password of the VM's display does not travel: it would be "
                             "reachable without one; set it there with `virsh edit`"});
    auto nvram = UNDERSTUDY_VALUE(nvram_of(xmls.current));
    if (!nvram.unsupported.empty())
        obstacles.push_back({Severity::blocks, "nvram", nvram.unsupported});
    return {};
}

std::string default_nvram_path(const std::string& uri, virDomainPtr domain) {
    const char* name = virDomainGetName(domain);
    return fmt::format("{}/{}_VARS.fd", libvirt_nvram_dir(uri), name != nullptr ? name : "");
}

}  // namespace

std::string libvirt_nvram_dir(const std::string& uri) {
    const auto root = embed_root(uri);
    return (root.empty() ? "/var/lib/libvirt" : root + "/lib") + "/qemu/nvram";
}

Result<std::vector<ports::VmSummary>> list_domains(virConnectPtr connection) {
    auto domains = UNDERSTUDY_VALUE(all_domains(connection));
    std::vector<ports::VmSummary> summaries;
    for (const auto& domain : domains) {
        auto summary = UNDERSTUDY_VALUE(summary_of(domain.get()));
        summaries.push_back(std::move(summary));
    }
    return summaries;
}

Result<std::map<std::string, std::string>> names_in_use(virConnectPtr connection) {
    auto domains = UNDERSTUDY_VALUE(all_domains(connection));
    std::map<std::string, std::string> names;
    for (const auto& domain : domains) {
        char id[VIR_UUID_STRING_BUFLEN] = {};
        const char* name = virDomainGetName(domain.get());
        if (name == nullptr || virDomainGetUUIDString(domain.get(), id) < 0)
            return fail(last_error(connection, "list VMs"));
        names[name] = id;
    }
    return names;
}

Result<ports::VmDescription> describe_domain(virDomainPtr domain) {
    ports::VmDescription description;
    auto summary = UNDERSTUDY_VALUE(summary_of(domain));
    description.summary = std::move(summary);
    auto xmls = UNDERSTUDY_VALUE(read_xmls(domain));
    auto disks = UNDERSTUDY_VALUE(disks_in(xmls.current, xmls.definition));
    description.disks = std::move(disks);
    UNDERSTUDY_TRY(
        add_sizes(domain, description.summary.state != ports::VmState::stopped, description.disks));
    auto nvram = UNDERSTUDY_VALUE(nvram_of(xmls.current));
    description.has_nvram = nvram.present;
    UNDERSTUDY_TRY(add_obstacles(domain, xmls, description.obstacles));
    auto plain = UNDERSTUDY_VALUE(without_layers(xmls.definition));
    description.domain_xml = std::move(plain);
    return description;
}

Result<std::string> read_domain_nvram(virDomainPtr domain, const std::string& uri) {
    auto xml = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    auto nvram = UNDERSTUDY_VALUE(nvram_of(xml));
    if (!nvram.unsupported.empty()) return fail(ErrorKind::unsupported, nvram.unsupported);
    if (!nvram.present) return std::string{};
    return read_nvram_file(nvram.path.empty() ? default_nvram_path(uri, domain) : nvram.path);
}

}  // namespace understudy::libvirt
