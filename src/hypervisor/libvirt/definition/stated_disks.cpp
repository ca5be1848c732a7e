#include "hypervisor/libvirt/definition/stated_disks.hpp"

#include "hypervisor/libvirt/definition/xml.hpp"

namespace understudy::libvirt {

Result<std::vector<ports::DiskDescription>> stated_disks(const std::string& domain_xml) {
    auto document = UNDERSTUDY_VALUE(parse_domain(domain_xml));
    std::vector<ports::DiskDescription> disks;
    for (const auto disk : devices_of(document).children("disk")) {
        const auto device = attribute_of(disk, "device");
        if (!device.empty() && device != "disk" && device != "lun") continue;
        ports::DiskDescription stated;
        stated.target = attribute_of(disk.child("target"), "dev");
        stated.source.type = attribute_of(disk, "type");
        stated.source.format = attribute_of(disk.child("driver"), "type");
        for (const char* place : {"file", "name", "dev"})
            if (stated.source.location.empty())
                stated.source.location = attribute_of(disk.child("source"), place);
        disks.push_back(std::move(stated));
    }
    return disks;
}

}  // namespace understudy::libvirt
