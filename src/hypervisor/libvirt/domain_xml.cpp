#include "hypervisor/libvirt/domain_xml.hpp"

#include "hypervisor/libvirt/xml.hpp"

#include <fmt/format.h>

#include <map>
#include <string_view>

namespace understudy::libvirt {
namespace {

bool travels(pugi::xml_node disk) {
    const auto device = attribute_of(disk, "device");
    return device.empty() || device == "disk" || device == "lun";
}

std::string target_of(pugi::xml_node disk) {
    return attribute_of(disk.child("target"), "dev");
}

pugi::xml_node find_disk(const pugi::xml_document& document, const std::string& target) {
    for (const auto disk : devices_of(document).children("disk"))
        if (target_of(disk) == target) return disk;
    return {};
}

std::string file_of(pugi::xml_node disk) {
    return attribute_of(disk.child("source"), "file");
}

std::string format_of(pugi::xml_node disk) {
    const auto format = attribute_of(disk.child("driver"), "type");
    return format.empty() ? "raw" : format;  // libvirt's default: it never probes
}

// The reason why a disk cannot be snapshotted and sent, in itself; empty: it can.
std::string why_unsupported(pugi::xml_node disk) {
    const auto type = attribute_of(disk, "type");
    if (type == "block")
        return fmt::format("it is the block device {}; only disks in qcow2 or raw files travel",
                           attribute_of(disk.child("source"), "dev"));
    if (type == "network")
        return fmt::format("it is a network disk ({}); only disks in qcow2 or raw files travel",
                           attribute_of(disk.child("source"), "protocol"));
    if (type == "volume")
        return "it is given as a libvirt pool's volume; give its file instead (type='file')";
    if (type != "file")
        return fmt::format("it is of type '{}'; only disks in qcow2 or raw files travel", type);
    if (attribute_of(disk, "device") == "lun") return "it is a passed-through SCSI LUN";
    if (file_of(disk).empty()) return "it has no source file";
    const auto format = format_of(disk);
    if (format != "qcow2" && format != "raw")
        return fmt::format("its format is '{}'; only qcow2 and raw travel", format);
    if (disk.child("shareable")) return "it is shared with other VMs (<shareable/>)";
    if (disk.child("readonly")) return "it is read-only (<readonly/>) and cannot take a new layer";
    if (disk.child("transient")) return "it is thrown away at shutdown (<transient/>)";
    if (disk.child("encryption") || disk.child("source").child("encryption"))
        return "it is encrypted with a key that only this host's libvirt has";
    if (disk.child("source").child("slices")) return "it is a slice of a larger file";
    return {};
}

std::map<std::string, pugi::xml_node> travelling(const pugi::xml_document& document) {
    std::map<std::string, pugi::xml_node> found;
    for (const auto disk : devices_of(document).children("disk"))
        if (travels(disk)) found[target_of(disk)] = disk;
    return found;
}

std::string disagreement(pugi::xml_node now, const std::map<std::string, pugi::xml_node>& next) {
    const auto target = target_of(now);
    const auto at = next.find(target);
    if (at == next.end())
        return fmt::format(
            "it is attached only until the VM stops; attach it with `virsh attach-disk "
            "--persistent`, or detach it");
    if (file_of(at->second) == file_of(now) && format_of(at->second) == format_of(now)) return {};
    return fmt::format(
        "the running VM uses {} ({}) but its definition says {} ({}); make them agree with "
        "`virsh edit`, or stop and start the VM",
        file_of(now), format_of(now), file_of(at->second), format_of(at->second));
}

ports::DiskDescription described(pugi::xml_node disk) {
    ports::DiskDescription description;
    description.target = target_of(disk);
    const auto type = attribute_of(disk, "type");
    description.source.type = type.empty() ? "file" : type;
    description.source.format = format_of(disk);
    description.source.location = file_of(disk);
    description.unsupported = why_unsupported(disk);
    return description;
}

}  // namespace

Result<std::vector<ports::DiskDescription>> disks_in(const std::string& current,
                                                     const std::string& definition) {
    auto now = parse_domain(current);
    if (!now) return fail(std::move(now.error()));
    auto next = parse_domain(definition);
    if (!next) return fail(std::move(next.error()));
    const auto next_disks = travelling(*next);
    const auto now_disks = travelling(*now);

    std::vector<ports::DiskDescription> found;
    std::map<std::string, int> users;
    for (const auto disk : devices_of(*now).children("disk")) {
        if (const auto file = file_of(disk); !file.empty()) ++users[file];
        if (!travels(disk)) continue;
        auto description = described(disk);
        if (description.unsupported.empty())
            description.unsupported = disagreement(disk, next_disks);
        found.push_back(std::move(description));
    }
    for (const auto& [target, disk] : next_disks) {
        if (now_disks.contains(target)) continue;
        auto description = described(disk);
        description.unsupported =
            "it is attached only from the VM's next start on; stop and start the VM";
        found.push_back(std::move(description));
    }
    for (auto& disk : found)
        if (disk.unsupported.empty() && users[disk.source.location] > 1)
            disk.unsupported =
                fmt::format("two disks of this VM use the same file {}", disk.source.location);
    return found;
}

Result<std::string> with_disk_sources(const std::string& definition,
                                      const std::vector<ports::DiskSwitch>& switches) {
    auto document = parse_domain(definition);
    if (!document) return fail(std::move(document.error()));
    for (const auto& change : switches) {
        if (change.source.type != "file")
            return fail(ErrorKind::unsupported,
                        fmt::format("disk {}: sources of type '{}' are not known here",
                                    change.target, change.source.type));
        auto disk = find_disk(*document, change.target);
        if (!disk)
            return fail(ErrorKind::invalid,
                        fmt::format("the VM's definition has no disk '{}'", change.target));
        set_attribute(disk, "type", "file");
        auto driver = disk.child("driver");
        if (!driver) driver = disk.prepend_child("driver");
        set_attribute(driver, "name", "qemu");
        set_attribute(driver, "type", change.source.format);
        auto source = child_or_new(disk, "source");
        for (const char* other : {"dev", "protocol", "name", "pool", "volume", "mode"})
            source.remove_attribute(other);
        for (const char* inner : {"host", "auth", "snapshot", "config", "slices", "encryption"})
            remove_children(source, inner);
        set_attribute(source, "file", change.source.location);
        remove_children(disk, "backingStore");
        remove_children(disk, "mirror");
        remove_children(disk, "auth");
    }
    return print(*document);
}

Result<std::string> snapshot_xml(const std::string& live,
                                 const std::vector<ports::DiskSwitch>& switches) {
    auto document = parse_domain(live);
    if (!document) return fail(std::move(document.error()));
    std::map<std::string, const ports::DiskSwitch*> wanted;
    for (const auto& change : switches) {
        if (!find_disk(*document, change.target))
            return fail(ErrorKind::conflict, fmt::format("the VM has no disk '{}'", change.target));
        wanted[change.target] = &change;
    }
    pugi::xml_document snapshot;
    auto disks = snapshot.append_child("domainsnapshot").append_child("disks");
    for (const auto disk : devices_of(*document).children("disk")) {
        auto entry = disks.append_child("disk");
        set_attribute(entry, "name", target_of(disk));
        const auto at = wanted.find(target_of(disk));
        set_attribute(entry, "snapshot", at == wanted.end() ? "no" : "external");
        if (at == wanted.end()) continue;
        set_attribute(entry, "type", "file");
        set_attribute(entry.append_child("driver"), "type", at->second->source.format);
        set_attribute(entry.append_child("source"), "file", at->second->source.location);
    }
    return print(snapshot);
}

Result<std::vector<std::string>> chain_of(const std::string& live, const std::string& target) {
    auto document = parse_domain(live);
    if (!document) return fail(std::move(document.error()));
    auto layer = find_disk(*document, target);
    if (!layer) return fail(ErrorKind::not_found, fmt::format("the VM has no disk '{}'", target));
    std::vector<std::string> files;
    for (; layer && layer.child("source"); layer = layer.child("backingStore"))
        files.push_back(file_of(layer));
    return files;
}

Result<std::optional<Mirror>> mirror_of(const std::string& live, const std::string& target) {
    auto document = parse_domain(live);
    if (!document) return fail(std::move(document.error()));
    const auto mirror = find_disk(*document, target).child("mirror");
    if (!mirror) return std::nullopt;
    return Mirror{attribute_of(mirror, "job"), file_of(mirror),
                  attribute_of(mirror, "ready") == "yes"};
}

Result<Nvram> nvram_of(const std::string& xml) {
    auto document = parse_domain(xml);
    if (!document) return fail(std::move(document.error()));
    const auto os = document->child("domain").child("os");
    Nvram nvram;
    const auto node = os.child("nvram");
    nvram.present = node || attribute_of(os, "firmware") == "efi" ||
                    attribute_of(os.child("loader"), "type") == "pflash";
    nvram.path = node.child("source") ? file_of(node) : text_of(node);
    const auto type = attribute_of(node, "type");
    if (!type.empty() && type != "file")
        nvram.unsupported =
            fmt::format("its UEFI variables are of type '{}'; only a file of them travels", type);
    return nvram;
}

Result<bool> agent_connected(const std::string& live) {
    auto document = parse_domain(live);
    if (!document) return fail(std::move(document.error()));
    for (const auto channel : devices_of(*document).children("channel")) {
        const auto target = channel.child("target");
        if (attribute_of(target, "name") == "org.qemu.guest_agent.0")
            return attribute_of(target, "state") == "connected";
    }
    return false;
}

}  // namespace understudy::libvirt
