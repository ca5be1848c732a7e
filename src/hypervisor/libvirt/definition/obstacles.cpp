#include "hypervisor/libvirt/definition/obstacles.hpp"

#include "hypervisor/libvirt/definition/disk_source.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <set>
#include <string_view>

// Finds the parts of a VM that do not travel, in its definition: TPM, host devices, shared
// directories and disks, persistent memory, secrets, encrypted memory. Each becomes an issue with a
// key by which an operator accepts it, so the keys must not be changed. Pure: text in, issues out.

namespace understudy::libvirt {
namespace {

using model::ReadinessIssue;
using model::Severity;

ReadinessIssue blocks(std::string key, std::string text) {
    return {Severity::blocks, std::move(key), std::move(text)};
}

// Hexadecimal without libvirt's "0x".
std::string bare(const std::string& number) {
    return number.starts_with("0x") ? number.substr(2) : number;
}

std::string shorter_source(pugi::xml_node device) {
    const auto source = device.child("source");
    for (const char* name : {"dev", "dir", "name", "socket", "path"})
        if (source.attribute(name)) return attribute_of(source, name);
    return "?";
}

bool removable(pugi::xml_node device) {
    const auto kind = attribute_of(device, "device");
    return kind == "cdrom" || kind == "floppy";
}

void collect_secrets(pugi::xml_node node, std::set<std::string>& secrets) {
    for (const auto child : node.children()) {
        if (std::string_view(child.name()) == "disk" && removable(child)) continue;
        // A login to Ceph does not count: each target gives a disk the login to the Ceph that it is
        // in there.
        if (std::string_view(child.name()) == "secret" && !is_ceph_login(child)) {
            const auto uuid = attribute_of(child, "uuid");
            const auto name = uuid.empty() ? attribute_of(child, "usage") : uuid;
            if (!name.empty()) secrets.insert(name);
        }
        collect_secrets(child, secrets);
    }
}

void add_device_obstacles(pugi::xml_node devices, std::vector<ReadinessIssue>& issues) {
    for (const auto tpm : devices.children("tpm")) {
        const bool passed = attribute_of(tpm.child("backend"), "type") == "passthrough";
        issues.push_back(blocks(
            "tpm", passed ? "the VM uses this host's own TPM, which cannot travel"
                          : "the VM's TPM state does not travel: it comes up with a fresh TPM, and "
                            "what is sealed to the old one (BitLocker, LUKS) asks for its "
                            "recovery key; have that at hand before accepting this"));
    }
    for (const auto device : devices.children("hostdev"))
        issues.push_back(blocks(fmt::format("hostdev:{}", hostdev_address(device)),
                                "a device of this host is passed through to the VM and cannot "
                                "travel; accept this to start without it"));
    for (const auto device : devices.children("interface"))
        if (attribute_of(device, "type") == "hostdev")
            issues.push_back(blocks(fmt::format("hostdev:{}", hostdev_address(device)),
                                    "a network card of this host is passed through to the VM and "
                                    "cannot travel; accept this to start without it"));
    for (const auto filesystem : devices.children("filesystem"))
        issues.push_back(
            blocks(fmt::format("filesystem:{}", attribute_of(filesystem.child("target"), "dir")),
                   fmt::format("the VM shares {} with this host, whose content does not travel",
                               shorter_source(filesystem))));
    for (const auto disk : devices.children("disk")) {
        const auto target = attribute_of(disk.child("target"), "dev");
        if (disk.child("shareable") && !removable(disk))
            issues.push_back(blocks(fmt::format("shared-disk:{}", target),
                                    fmt::format("disk {} is shared with other VMs", target)));
    }
    for (const auto memory : devices.children("memory")) {
        const auto kind = attribute_of(memory, "model");
        if (kind == "nvdimm" || kind == "virtio-pmem")
            issues.push_back(blocks("memory-device",
                                    fmt::format("the VM has persistent memory ({}), whose content "
                                                "does not travel",
                                                kind)));
    }
}

}  // namespace

std::string hostdev_address(pugi::xml_node device) {
    const auto source = device.child("source");
    const auto address = source.child("address");
    const auto kind = attribute_of(device, "type");
    if (address.attribute("uuid")) return fmt::format("mdev:{}", attribute_of(address, "uuid"));
    if (kind == "usb" && source.child("vendor"))
        return fmt::format("usb:{}:{}", bare(attribute_of(source.child("vendor"), "id")),
                           bare(attribute_of(source.child("product"), "id")));
    if (address.attribute("domain") || address.attribute("slot")) {
        auto domain = bare(attribute_of(address, "domain"));
        if (domain.empty()) domain = "0000";
        return fmt::format("pci:{}:{}:{}.{}", domain, bare(attribute_of(address, "bus")),
                           bare(attribute_of(address, "slot")),
                           bare(attribute_of(address, "function")));
    }
    if (address.attribute("device"))
        return fmt::format("usb:{}.{}", attribute_of(address, "bus"),
                           attribute_of(address, "device"));
    if (source.child("adapter"))
        return fmt::format("scsi:{}:{}:{}:{}", attribute_of(source.child("adapter"), "name"),
                           attribute_of(address, "bus"), attribute_of(address, "target"),
                           attribute_of(address, "unit"));
    return fmt::format("{}:{}", kind.empty() ? "device" : kind, shorter_source(device));
}

std::set<std::string> secrets_in(pugi::xml_node node) {
    std::set<std::string> secrets;
    collect_secrets(node, secrets);
    return secrets;
}

Result<std::vector<ReadinessIssue>> obstacles_in(const std::string& definition) {
    auto document = UNDERSTUDY_VALUE(parse_domain(definition));
    std::vector<ReadinessIssue> issues;
    add_device_obstacles(devices_of(document), issues);
    for (const auto& secret : secrets_in(document.child("domain")))
        issues.push_back(blocks(fmt::format("secret:{}", secret),
                                fmt::format("the definition refers to libvirt secret {}, which "
                                            "does not travel",
                                            secret)));
    if (document.child("domain").child("launchSecurity"))
        issues.push_back(blocks("launch-security",
                                "the VM's memory is encrypted for this very host "
                                "(<launchSecurity>); it cannot start elsewhere"));
    return issues;
}

Result<bool> has_graphics_password(const std::string& secure_definition) {
    auto document = UNDERSTUDY_VALUE(parse_domain(secure_definition));
    for (const auto graphics : devices_of(document).children("graphics"))
        if (!attribute_of(graphics, "passwd").empty()) return true;
    return false;
}

}  // namespace understudy::libvirt
