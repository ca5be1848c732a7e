#include "hypervisor/libvirt/definition/domain_xml.hpp"

#include "hypervisor/libvirt/definition/disk_source.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <map>
#include <string_view>

// What a definition says about disks and UEFI variables, and the changes that are made to them:
// other sources, no layers, the XML of a snapshot. `current` is the running VM's XML, `definition`
// that of its next start; a disk about which the two disagree does not travel. A text in which
// nothing has to be changed stays as libvirt wrote it (without_layers). Pure: text in, text out.

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

// A layer's file. Layers below a disk are always files.
std::string file_of(pugi::xml_node disk) {
    return attribute_of(disk.child("source"), "file");
}

// Whether it names layers below the disk's own file. libvirt writes them down when it takes a
// snapshot of a running VM. By an empty <backingStore/> an operator says that there are none.
bool names_layers(pugi::xml_node disk) {
    return !file_of(disk.child("backingStore")).empty();
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
    const auto wanted = source_of(at->second);
    const auto used = source_of(now);
    if (used == wanted) return {};
    return fmt::format(
        "the running VM uses {} ({}) but its definition says {} ({}); make them agree with "
        "`virsh edit`, or stop and start the VM",
        used.location, used.format, wanted.location, wanted.format);
}

ports::DiskDescription described(pugi::xml_node disk) {
    ports::DiskDescription description;
    description.target = target_of(disk);
    description.source = source_of(disk);
    description.unsupported = why_unsupported(disk);
    return description;
}

}  // namespace

Result<std::vector<ports::DiskDescription>> disks_in(const std::string& current,
                                                     const std::string& definition) {
    auto now = UNDERSTUDY_VALUE(parse_domain(current));
    auto next = UNDERSTUDY_VALUE(parse_domain(definition));
    const auto next_disks = travelling(next);
    const auto now_disks = travelling(now);

    std::vector<ports::DiskDescription> found;
    std::map<std::string, int> users;
    for (const auto disk : devices_of(now).children("disk")) {
        if (const auto used = location_of(disk); !used.empty()) ++users[used];
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
                fmt::format("two disks of this VM use the same {} {}",
                            disk.source.type == "file" ? "file" : "image", disk.source.location);
    return found;
}

Result<std::vector<ports::DiskSwitch>> switches_left(
    const std::string& definition, const std::vector<ports::DiskSwitch>& switches) {
    auto document = UNDERSTUDY_VALUE(parse_domain(definition));
    std::vector<ports::DiskSwitch> left;
    for (const auto& change : switches) {
        const auto disk = find_disk(document, change.target);
        if (!disk || source_of(disk) != change.source || names_layers(disk)) left.push_back(change);
    }
    return left;
}

Result<std::string> with_disk_sources(const std::string& definition,
                                      const std::vector<ports::DiskSwitch>& switches) {
    auto document = UNDERSTUDY_VALUE(parse_domain(definition));
    for (const auto& change : switches) {
        auto disk = find_disk(document, change.target);
        if (!disk)
            return fail(ErrorKind::invalid,
                        fmt::format("the VM's definition has no disk '{}'", change.target));
        if (auto put = put_source(disk, change.source); !put)
            return fail(std::move(put.error()).during(fmt::format("disk {}", change.target)));
    }
    return print(document);
}

Result<std::string> without_layers(const std::string& definition) {
    auto document = UNDERSTUDY_VALUE(parse_domain(definition));
    bool changed = false;
    for (const auto& [target, disk] : travelling(document)) {
        if (!names_layers(disk)) continue;
        remove_children(disk, "backingStore");
        changed = true;
    }
    return changed ? print(document) : definition;  // as libvirt wrote it
}

Result<std::string> snapshot_xml(const std::string& live,
                                 const std::vector<ports::DiskSwitch>& switches) {
    auto document = UNDERSTUDY_VALUE(parse_domain(live));
    std::map<std::string, const ports::DiskSwitch*> wanted;
    for (const auto& change : switches) {
        if (!find_disk(document, change.target))
            return fail(ErrorKind::conflict, fmt::format("the VM has no disk '{}'", change.target));
        if (change.source.type != "file")
            return fail(ErrorKind::unsupported,
                        fmt::format("disk {}: only a new file can be put upon a running disk",
                                    change.target));
        wanted[change.target] = &change;
    }
    pugi::xml_document snapshot;
    auto disks = snapshot.append_child("domainsnapshot").append_child("disks");
    for (const auto disk : devices_of(document).children("disk")) {
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
    auto document = UNDERSTUDY_VALUE(parse_domain(live));
    auto layer = find_disk(document, target);
    if (!layer) return fail(ErrorKind::not_found, fmt::format("the VM has no disk '{}'", target));
    std::vector<std::string> files;
    for (; layer && layer.child("source"); layer = layer.child("backingStore"))
        files.push_back(file_of(layer));
    return files;
}

Result<std::optional<Mirror>> mirror_of(const std::string& live, const std::string& target) {
    auto document = UNDERSTUDY_VALUE(parse_domain(live));
    const auto mirror = find_disk(document, target).child("mirror");
    if (!mirror) return std::nullopt;
    return Mirror{attribute_of(mirror, "job"), file_of(mirror),
                  attribute_of(mirror, "ready") == "yes"};
}

Result<Nvram> nvram_of(const std::string& xml) {
    auto document = UNDERSTUDY_VALUE(parse_domain(xml));
    const auto os = document.child("domain").child("os");
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
    auto document = UNDERSTUDY_VALUE(parse_domain(live));
    for (const auto channel : devices_of(document).children("channel")) {
        const auto target = channel.child("target");
        if (attribute_of(target, "name") == "org.qemu.guest_agent.0")
            return attribute_of(target, "state") == "connected";
    }
    return false;
}

}  // namespace understudy::libvirt
