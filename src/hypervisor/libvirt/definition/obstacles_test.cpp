#include "hypervisor/libvirt/definition/obstacles.hpp"

#include <gmock/gmock.h>

namespace understudy::libvirt {
namespace {

std::vector<std::string> keys(const std::string& devices, const std::string& rest = "") {
    auto issues = obstacles_in("<domain type='kvm'><name>x</name>" + rest + "<devices>" + devices +
                               "</devices></domain>");
    std::vector<std::string> found;
    if (!issues) return {"failed"};
    for (const auto& issue : *issues) {
        EXPECT_EQ(issue.severity, model::Severity::blocks) << issue.key;
        EXPECT_FALSE(issue.text.empty());
        found.push_back(issue.key);
    }
    return found;
}

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Obstacles, plain_vm_has_none) {
    EXPECT_THAT(keys("<disk type='file' device='disk'><source file='/a'/><target dev='vda'/></disk>"
                     "<interface type='network'><source network='default'/></interface>"),
                IsEmpty());
}

TEST(Obstacles, tpm_is_named_whether_emulated_or_passed_through) {
    EXPECT_THAT(keys("<tpm><backend type='emulator' version='2.0'/></tpm>"), ElementsAre("tpm"));
    EXPECT_THAT(keys("<tpm><backend type='passthrough'/></tpm>"), ElementsAre("tpm"));
}

TEST(Obstacles, host_devices_are_named_by_their_address) {
    EXPECT_THAT(
        keys("<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x03' "
             "slot='0x00' function='0x1'/></source></hostdev>"
             "<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/>"
             "<product id='0xc52b'/></source></hostdev>"
             "<hostdev mode='subsystem' type='mdev'><source><address "
             "uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>"
             "<interface type='hostdev'><source><address type='pci' domain='0x0000' bus='0x05' "
             "slot='0x10' function='0x0'/></source></interface>"),
        ElementsAre("hostdev:pci:0000:03:00.1", "hostdev:usb:046d:c52b",
                    "hostdev:mdev:c2177883-f1bb-47f0-914d-32a22e3a8804",
                    "hostdev:pci:0000:05:10.0"));
}

TEST(Obstacles, shared_folders_disks_and_memory_are_named) {
    EXPECT_THAT(keys("<filesystem type='mount'><source dir='/srv'/><target dir='data'/>"
                     "</filesystem>"
                     "<disk type='file' device='disk'><source file='/a'/><target dev='vdb'/>"
                     "<shareable/></disk>"
                     "<memory model='nvdimm'><source><path>/x</path></source></memory>"
                     "<memory model='dimm'/>"),
                ElementsAre("filesystem:data", "shared-disk:vdb", "memory-device"));
}

TEST(Obstacles, each_secret_is_named_once) {
    EXPECT_THAT(
        keys("<disk type='network' device='disk'><auth username='u'><secret type='ceph' "
             "uuid='2ec115d7-3a88-3ceb-bc12-0ac909a6fd87'/></auth><target dev='vda'/></disk>"
             "<disk type='network' device='disk'><auth username='u'><secret type='ceph' "
             "uuid='2ec115d7-3a88-3ceb-bc12-0ac909a6fd87'/></auth><target dev='vdb'/></disk>"
             "<disk type='network' device='cdrom'><auth username='u'><secret type='ceph' "
             "usage='iso'/></auth><target dev='sda'/></disk>"),
        ElementsAre("secret:2ec115d7-3a88-3ceb-bc12-0ac909a6fd87"));
}

TEST(Obstacles, login_of_an_image_is_none_but_its_encryption_is) {
    const std::string secret = "<secret type='ceph' uuid='2ec115d7-3a88-3ceb-bc12-0ac909a6fd87'/>";
    const auto image = [](const std::string& in_source, const std::string& in_disk) {
        return "<disk type='network' device='disk'>" + in_disk +
               "<source protocol='rbd' name='p/i'>" + in_source +
               "</source><target dev='vda'/></disk>";
    };
    EXPECT_THAT(keys(image("<auth username='u'>" + secret + "</auth>", "")), IsEmpty());
    EXPECT_THAT(keys(image("", "<auth username='u'>" + secret + "</auth>")), IsEmpty());
    EXPECT_THAT(keys(image("<encryption format='luks'><secret type='passphrase' "
                           "uuid='6f3a0000-0000-4000-8000-000000000001'/></encryption>",
                           "")),
                ElementsAre("secret:6f3a0000-0000-4000-8000-000000000001"));
    EXPECT_THAT(keys("<disk type='network' device='disk'><source protocol='iscsi' name='i/1'>"
                     "<auth username='u'><secret type='iscsi' usage='lun'/></auth></source>"
                     "<target dev='sda'/></disk>"),
                ElementsAre("secret:lun"));
}

TEST(Obstacles, encrypted_memory_is_named) {
    EXPECT_THAT(keys("", "<launchSecurity type='sev'/>"), ElementsAre("launch-security"));
}

TEST(Obstacles, graphics_password_is_seen_only_where_there_is_one) {
    EXPECT_TRUE(*has_graphics_password(
        "<domain><devices><graphics type='vnc' passwd='x'/></devices></domain>"));
    EXPECT_FALSE(
        *has_graphics_password("<domain><devices><graphics type='vnc'/></devices></domain>"));
}

}  // namespace
}  // namespace understudy::libvirt
