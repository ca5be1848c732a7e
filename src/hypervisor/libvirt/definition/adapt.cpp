#include "hypervisor/libvirt/definition/adapt.hpp"

#include "hypervisor/libvirt/definition/adapt_steps.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"

#include <fmt/format.h>

#include <set>
#include <string_view>

// Rewrites a definition for this host. The disks' sources come first, then the name and the UUID.
// If it is from here (a rollback), that is all. Otherwise the steps of adapt_steps.hpp follow, each
// on the same document, and a drill's steps last, because they change what the others have left.
// Each change is told in words, and what would keep the VM from starting becomes an issue. Pure but
// for `facts.exists` and `facts.has_secret`; nothing is defined or kept.

namespace understudy::libvirt {
namespace {

void adapt_identity(const Adapting& work) {
    const auto name = text_of(work.domain.child("name"));
    if (!work.request.new_name.empty() && work.request.new_name != name) {
        work.change(fmt::format("name: {} → {}", name, work.request.new_name));
        set_text(work.domain, "name", work.request.new_name);
    }
    remove_children(work.domain, "id");
    if (!work.request.new_id) return;
    const auto id = work.request.new_id->text();
    work.change(fmt::format("UUID: {} → {}", text_of(work.domain.child("uuid")), id));
    set_text(work.domain, "uuid", id);
    // libvirt demands that the firmware tables have the same UUID.
    for (const auto entry : work.domain.child("sysinfo").child("system").children("entry"))
        if (attribute_of(entry, "name") == "uuid") entry.text().set(id.c_str());
    // libvirt makes a new generation id for an empty one. By that a guest knows that it is a copy.
    if (auto genid = work.domain.child("genid")) genid.text().set("");
}

// libvirt knows VMs by name and by UUID. If another VM here has this name, it refuses the
// definition.
void check_name(const Adapting& work) {
    const auto name = text_of(work.domain.child("name"));
    const auto other = work.facts.vms.find(name);
    if (other == work.facts.vms.end() || other->second == text_of(work.domain.child("uuid")))
        return;
    work.block("name", fmt::format("another VM here is named '{}' (UUID {}); rename one of them "
                                   "(`virsh domrename`), accepting this does not help",
                                   name, other->second));
}

// CD-ROM and floppy drives come up empty; disks that did not travel are taken out.
void adapt_other_disks(const Adapting& work) {
    std::set<std::string> given;
    for (const auto& disk : work.request.disks) given.insert(disk.target);
    for (auto disk : children_of(work.devices(), "disk")) {
        const auto target = attribute_of(disk.child("target"), "dev");
        const auto device = attribute_of(disk, "device");
        if (device == "cdrom" || device == "floppy") {
            if (disk.child("source"))
                work.change(fmt::format("{} {}: its image does not travel; the drive is empty",
                                        device, target));
            set_attribute(disk, "type", "file");
            for (const char* child : {"source", "auth", "encryption", "backingStore", "mirror"})
                remove_children(disk, child);
            continue;
        }
        if (given.contains(target)) continue;
        work.block(fmt::format("disk:{}", target),
                   fmt::format("disk {} did not travel with the VM; accept this to start without "
                               "it",
                               target));
        work.change(fmt::format("disk {}: removed, it did not travel", target));
        work.devices().remove_child(disk);
    }
}

void drop_labels(const Adapting& work) {
    for (auto label : children_of(work.domain, "seclabel")) {
        if (attribute_of(label, "type") != "static") continue;
        work.change("static security label dropped; this host's libvirt makes its own");
        pugi::xml_node(work.domain).remove_child(label);
    }
}

}  // namespace

Result<Wanted> wanted_by(const std::string& domain_xml) {
    auto document = UNDERSTUDY_VALUE(parse_domain(domain_xml));
    const auto domain = document.child("domain");
    const auto type = domain.child("os").child("type");
    return Wanted{attribute_of(type, "arch"), attribute_of(type, "machine"),
                  attribute_of(domain, "type") == "kvm"};
}

Result<ports::Adapted> adapt_definition(const ports::AdaptRequest& request,
                                        const HostFacts& facts) {
    auto disks =
        UNDERSTUDY_VALUE(request.from_here ? switches_left(request.domain_xml, request.disks)
                                           : Result<std::vector<ports::DiskSwitch>>(request.disks));
    auto switched = UNDERSTUDY_VALUE(with_disk_sources(request.domain_xml, disks));
    auto document = UNDERSTUDY_VALUE(parse_domain(switched));
    ports::Adapted adapted;
    const Adapting work{document.child("domain"), request, facts, adapted};
    UNDERSTUDY_TRY(check_apart(work));
    for (const auto& disk : request.disks)
        adapted.changes.push_back(fmt::format("disk {}: now {} ({})", disk.target,
                                              disk.source.location, disk.source.format));
    adapt_identity(work);
    check_name(work);
    if (request.from_here) {
        keep_firmware(work);
        adapted.domain_xml = print(document);
        return adapted;
    }
    adapt_other_disks(work);
    check_images(work);
    adapt_hypervisor_type(work);
    adapt_machine(work);
    adapt_cpu(work);
    adapt_firmware(work);
    adapt_kernel(work);
    adapt_placement(work);
    adapt_interfaces(work);
    adapt_character_devices(work);
    adapt_graphics(work);
    adapt_untravelled_devices(work);
    adapt_qemu_arguments(work);
    drop_labels(work);
    if (request.cut_off) adapt_rehearsal(work);
    note_facts(work);
    adapted.domain_xml = print(document);
    return adapted;
}

}  // namespace understudy::libvirt
