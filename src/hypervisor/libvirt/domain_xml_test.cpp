#include "hypervisor/libvirt/domain_xml.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace understudy::libvirt {
namespace {

using ports::DiskSource;
using ports::DiskSwitch;
using testing::HasSubstr;
using testing::Not;

std::string domain(const std::string& devices, const std::string& os = "") {
    return fmt::format(
        "<domain type='kvm'><name>web1</name><uuid>6f3a0000-0000-4000-8000-000000000001</uuid>"
        "<os>{}<type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
        "<devices>{}</devices></domain>",
        os, devices);
}

std::string disk(const std::string& target, const std::string& file,
                 const std::string& format = "qcow2", const std::string& extra = "") {
    return fmt::format(
        "<disk type='file' device='disk'><driver name='qemu' type='{}' cache='none'/>"
        "<source file='{}' index='1'/>{}<target dev='{}' bus='virtio'/></disk>",
        format, file, extra, target);
}

std::string reason(const std::string& devices) {
    const auto xml = domain(devices);
    auto disks = disks_in(xml, xml);
    if (!disks || disks->empty()) return "no disk";
    return disks->front().unsupported;
}

TEST(DomainXml, lists_file_disks_and_skips_removable_drives) {
    const auto xml =
        domain(disk("vda", "/vm/a.qcow2") + disk("sda", "/vm/b.img", "raw") +
               "<disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sdb'/>"
               "<readonly/></disk><disk type='file' device='floppy'><target dev='fda'/></disk>");
    auto disks = disks_in(xml, xml);
    ASSERT_TRUE(disks);
    ASSERT_EQ(disks->size(), 2u);
    EXPECT_EQ((*disks)[0].target, "vda");
    EXPECT_EQ((*disks)[0].source, (DiskSource{"file", "qcow2", "/vm/a.qcow2"}));
    EXPECT_EQ((*disks)[1].source, (DiskSource{"file", "raw", "/vm/b.img"}));
    EXPECT_EQ((*disks)[0].unsupported, "");
    EXPECT_EQ((*disks)[1].unsupported, "");
}

TEST(DomainXml, says_why_a_disk_cannot_travel) {
    EXPECT_THAT(reason("<disk type='block' device='disk'><source dev='/dev/sdx'/>"
                       "<target dev='vda'/></disk>"),
                HasSubstr("/dev/sdx"));
    EXPECT_THAT(reason("<disk type='network' device='disk'><source protocol='rbd' name='p/i'/>"
                       "<target dev='vda'/></disk>"),
                HasSubstr("rbd"));
    EXPECT_THAT(reason("<disk type='volume' device='disk'><source pool='p' volume='v'/>"
                       "<target dev='vda'/></disk>"),
                HasSubstr("pool"));
    EXPECT_THAT(reason("<disk type='nvme' device='disk'><target dev='vda'/></disk>"),
                HasSubstr("nvme"));
    EXPECT_THAT(reason("<disk type='file' device='lun'><source file='/x'/><target dev='sda'/>"
                       "</disk>"),
                HasSubstr("LUN"));
    EXPECT_THAT(reason("<disk type='file' device='disk'><target dev='vda'/></disk>"),
                HasSubstr("no source"));
    EXPECT_THAT(reason(disk("vda", "/x", "vmdk")), HasSubstr("vmdk"));
    EXPECT_THAT(reason(disk("vda", "/x", "raw", "<shareable/>")), HasSubstr("shared"));
    EXPECT_THAT(reason(disk("vda", "/x", "raw", "<readonly/>")), HasSubstr("read-only"));
    EXPECT_THAT(reason(disk("vda", "/x", "raw", "<transient/>")), HasSubstr("thrown away"));
    EXPECT_THAT(reason(disk("vda", "/x", "qcow2", "<encryption format='luks'/>")),
                HasSubstr("encrypted"));
    EXPECT_THAT(reason(disk("vda", "/x") + disk("vdb", "/x")), HasSubstr("same file"));
}

TEST(DomainXml, live_and_definition_that_disagree_are_named) {
    const auto live = domain(disk("vda", "/vm/live") + disk("vdb", "/vm/plugged"));
    const auto definition = domain(disk("vda", "/vm/other") + disk("vdc", "/vm/next"));
    auto disks = disks_in(live, definition);
    ASSERT_TRUE(disks);
    ASSERT_EQ(disks->size(), 3u);
    EXPECT_EQ((*disks)[0].source.location, "/vm/live");
    EXPECT_THAT((*disks)[0].unsupported, HasSubstr("/vm/other"));
    EXPECT_THAT((*disks)[1].unsupported, HasSubstr("until the VM stops"));
    EXPECT_EQ((*disks)[2].target, "vdc");
    EXPECT_THAT((*disks)[2].unsupported, HasSubstr("next start"));
}

TEST(DomainXml, new_sources_replace_nothing_else) {
    const auto before = domain(disk("vda", "/vm/a.img", "raw",
                                    "<backingStore type='file'><source file='/vm/base'/>"
                                    "</backingStore><serial>S1</serial>"));
    auto after =
        with_disk_sources(before, {DiskSwitch{"vda", {"file", "qcow2", "/p/with 'quote'.qcow2"}}});
    ASSERT_TRUE(after);
    auto disks = disks_in(*after, *after);
    ASSERT_TRUE(disks);
    EXPECT_EQ((*disks)[0].source, (DiskSource{"file", "qcow2", "/p/with 'quote'.qcow2"}));
    EXPECT_THAT(*after, Not(HasSubstr("backingStore")));
    EXPECT_THAT(*after, HasSubstr("<serial>S1</serial>"));
    EXPECT_THAT(*after, HasSubstr("cache=\"none\""));
}

TEST(DomainXml, new_source_for_an_unknown_disk_is_invalid) {
    auto after = with_disk_sources(domain(""), {DiskSwitch{"vda", {"file", "qcow2", "/p"}}});
    ASSERT_FALSE(after);
    EXPECT_EQ(after.error().kind(), ErrorKind::invalid);
}

TEST(DomainXml, snapshot_names_every_other_disk_as_left_alone) {
    const auto live = domain(disk("vda", "/a") + disk("vdb", "/b") +
                             "<disk type='file' device='cdrom'><target dev='sda'/></disk>");
    auto xml = snapshot_xml(live, {DiskSwitch{"vdb", {"file", "qcow2", "/b.1"}}});
    ASSERT_TRUE(xml);
    EXPECT_THAT(*xml, HasSubstr("<disk name=\"vda\" snapshot=\"no\""));
    EXPECT_THAT(*xml, HasSubstr("<disk name=\"sda\" snapshot=\"no\""));
    EXPECT_THAT(*xml, HasSubstr("<disk name=\"vdb\" snapshot=\"external\" type=\"file\">"));
    EXPECT_THAT(*xml, HasSubstr("<source file=\"/b.1\""));
}

TEST(DomainXml, chain_is_read_from_top_to_bottom) {
    const auto live = domain(
        disk("vda", "/3", "qcow2",
             "<backingStore type='file'><format type='qcow2'/><source file='/2'/>"
             "<backingStore type='file'><format type='raw'/><source file='/1'/><backingStore/>"
             "</backingStore></backingStore>"));
    auto chain = chain_of(live, "vda");
    ASSERT_TRUE(chain);
    EXPECT_EQ(*chain, (std::vector<std::string>{"/3", "/2", "/1"}));
    EXPECT_EQ(chain_of(live, "vdz").error().kind(), ErrorKind::not_found);
}

TEST(DomainXml, finds_uefi_variables_in_both_notations) {
    const auto plain = domain("", "<loader type='pflash'>/code</loader><nvram> /n/v.fd </nvram>");
    EXPECT_EQ(nvram_of(plain)->path, "/n/v.fd");
    const auto typed = domain("", "<nvram type='file'><source file='/n/w.fd'/></nvram>");
    EXPECT_EQ(nvram_of(typed)->path, "/n/w.fd");
    const auto block = domain("", "<nvram type='block'><source dev='/dev/x'/></nvram>");
    EXPECT_THAT(nvram_of(block)->unsupported, HasSubstr("block"));
    EXPECT_FALSE(nvram_of(domain(""))->present);
}

TEST(DomainXml, only_a_connected_agent_counts) {
    const auto channel = [](const char* state) {
        return domain(
            fmt::format("<channel type='unix'><target type='virtio' "
                        "name='org.qemu.guest_agent.0' state='{}'/></channel>",
                        state));
    };
    EXPECT_TRUE(*agent_connected(channel("connected")));
    EXPECT_FALSE(*agent_connected(channel("disconnected")));
    EXPECT_FALSE(*agent_connected(domain("")));
}

TEST(DomainXml, malformed_nested_and_oversized_definitions_are_invalid) {
    std::string deep;
    for (int i = 0; i < 100'000; ++i) deep += "<a>";
    for (int i = 0; i < 100'000; ++i) deep += "</a>";
    for (const auto& xml : {std::string("<domain>"), std::string("<network/>"), std::string(),
                            domain(deep), domain(std::string(5u << 20, ' '))}) {
        auto disks = disks_in(xml, xml);
        ASSERT_FALSE(disks);
        EXPECT_EQ(disks.error().kind(), ErrorKind::invalid);
    }
}

}  // namespace
}  // namespace understudy::libvirt
