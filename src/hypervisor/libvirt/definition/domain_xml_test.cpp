#include "hypervisor/libvirt/definition/domain_xml.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace understudy::libvirt {
namespace {

using ports::DiskSource;
using ports::DiskSwitch;
using testing::ElementsAre;
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

std::string image(const std::string& target, const std::string& name,
                  const std::string& in_source = "", const std::string& extra = "",
                  const std::string& format = "raw") {
    return fmt::format(
        "<disk type='network' device='disk'><driver name='qemu' type='{}' cache='writeback' "
        "discard='unmap'/>{}<source protocol='rbd' name='{}'>{}</source>"
        "<target dev='{}' bus='virtio'/></disk>",
        format, extra, name, in_source, target);
}

constexpr const char* kAuth =
    "<auth username='libvirt'><secret type='ceph' uuid='2ec115d7-3a88-4ceb-bc12-0ac909a6fd87'/>"
    "</auth>";
constexpr const char* kSecret = "2ec115d7-3a88-4ceb-bc12-0ac909a6fd87";

DiskSource image_source(const std::string& location, std::vector<std::string> monitors = {},
                        const std::string& user = "", const std::string& secret = "") {
    return {"network", "raw", location, std::move(monitors), user, secret};
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
    EXPECT_THAT(reason("<disk type='network' device='disk'><source protocol='nbd' name='p/i'/>"
                       "<target dev='vda'/></disk>"),
                HasSubstr("nbd"));
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

TEST(DomainXml, snapshot_takes_no_image_as_a_new_layer) {
    auto xml = snapshot_xml(domain(image("vda", "p/i")), {DiskSwitch{"vda", image_source("p/j")}});
    ASSERT_FALSE(xml);
    EXPECT_EQ(xml.error().kind(), ErrorKind::unsupported);
}

TEST(DomainXml, image_is_described_with_how_it_is_reached) {
    const auto hosts =
        "<host name='mon1' port='6789'/><host name='fd00::1' port='3300'/><host name='mon3'/>";
    for (const auto& xml : {domain(image("vda", "vms/web1", std::string(hosts) + kAuth)),
                            domain(image("vda", "vms/web1", hosts, kAuth))}) {
        auto disks = disks_in(xml, xml);
        ASSERT_TRUE(disks);
        ASSERT_EQ(disks->size(), 1u);
        const auto& source = disks->front().source;
        EXPECT_EQ(disks->front().unsupported, "");
        EXPECT_EQ(source, image_source("vms/web1"));
        EXPECT_THAT(source.monitors, ElementsAre("mon1:6789", "[fd00::1]:3300", "mon3"));
        EXPECT_EQ(source.user, "libvirt");
        EXPECT_EQ(source.secret, kSecret);
    }
    EXPECT_EQ(reason(image("vda", "vms/web1", "<config file='/etc/ceph/dr.conf'/>")), "");
    EXPECT_EQ(reason(image("vda", "vms/tenant/web1")), "");
}

TEST(DomainXml, says_why_an_image_cannot_travel) {
    EXPECT_THAT(reason(image("vda", "vms/web1", "<snapshot name='s'/>")), HasSubstr("snapshot"));
    EXPECT_THAT(reason(image("vda", "vms/web1@s")), HasSubstr("snapshot"));
    EXPECT_THAT(reason(image("vda", "web1")), HasSubstr("POOL/IMAGE"));
    EXPECT_THAT(reason(image("vda", "vms/web1", "", "", "qcow2")), HasSubstr("qcow2"));
    EXPECT_THAT(reason(image("vda", "vms/web1", "<encryption format='luks' engine='librbd'/>")),
                HasSubstr("encrypted"));
    EXPECT_THAT(reason(image("vda", "vms/web1", "", "<shareable/>")), HasSubstr("shared"));
    EXPECT_THAT(reason(image("vda", "p/i") + image("vdb", "p/i")), HasSubstr("same image p/i"));
}

TEST(DomainXml, image_and_definition_that_disagree_are_named_however_they_are_reached) {
    const auto live =
        domain(image("vda", "p/i", "<host name='a' port='1'/>") + image("vdb", "p/j"));
    auto disks = disks_in(live, domain(image("vda", "p/i", kAuth) + disk("vdb", "/b", "raw")));
    ASSERT_TRUE(disks);
    EXPECT_EQ((*disks)[0].unsupported, "");
    EXPECT_THAT((*disks)[1].unsupported, HasSubstr("p/j"));
    EXPECT_THAT((*disks)[1].unsupported, HasSubstr("/b"));
}

TEST(DomainXml, image_takes_the_place_of_a_file) {
    const auto before = domain(
        "<disk type='file' device='disk' snapshot='no'><driver name='qemu' type='qcow2' "
        "io='threads' discard='unmap'><metadata_cache><max_size unit='bytes'>1</max_size>"
        "</metadata_cache></driver><source file='/vm/a' startupPolicy='optional' index='1'>"
        "<seclabel model='dac' relabel='no'/></source><backingStore type='file'>"
        "<source file='/vm/base'/></backingStore><target dev='vda'/><serial>S1</serial></disk>");
    const auto wanted = image_source("vms/web1", {"mon1:6789", "[fd00::1]:3300", "fd00::2", "mon3"},
                                     "understudy", kSecret);
    auto after = with_disk_sources(before, {DiskSwitch{"vda", wanted}});
    ASSERT_TRUE(after) << after.error().text();
    auto disks = disks_in(*after, *after);
    ASSERT_TRUE(disks);
    EXPECT_EQ(disks->front().unsupported, "");
    EXPECT_EQ(disks->front().source, wanted);
    EXPECT_THAT(disks->front().source.monitors,
                ElementsAre("mon1:6789", "[fd00::1]:3300", "[fd00::2]", "mon3"));
    EXPECT_EQ(disks->front().source.user, "understudy");
    EXPECT_EQ(disks->front().source.secret, kSecret);
    EXPECT_THAT(*after, HasSubstr("name=\"fd00::1\""));  // as libvirt writes them, without brackets
    for (const char* kept : {"<serial>S1</serial>", "discard=\"unmap\"", "io=\"threads\""})
        EXPECT_THAT(*after, HasSubstr(kept));
    for (const char* gone : {"/vm/", "startupPolicy", "seclabel", "metadata_cache", "backingStore"})
        EXPECT_THAT(*after, Not(HasSubstr(gone)));
}

TEST(DomainXml, file_takes_the_place_of_an_image) {
    for (const auto& before : {image("vda", "vms/web1",
                                     std::string("<host name='m' port='1'/>"
                                                 "<config file='/etc/ceph/x.conf'/>") +
                                         kAuth),
                               image("vda", "vms/web1", "", kAuth)}) {
        auto after =
            with_disk_sources(domain(before), {DiskSwitch{"vda", {"file", "qcow2", "/p/a.qcow2"}}});
        ASSERT_TRUE(after);
        auto disks = disks_in(*after, *after);
        ASSERT_TRUE(disks);
        EXPECT_EQ(disks->front().source, (DiskSource{"file", "qcow2", "/p/a.qcow2"}));
        EXPECT_THAT(*after, HasSubstr("cache=\"writeback\""));
        for (const char* gone : {"rbd", "vms", "<host", "<config", "<auth", "secret"})
            EXPECT_THAT(*after, Not(HasSubstr(gone)));
    }
}

TEST(DomainXml, another_cluster_s_monitors_and_login_replace_the_old_ones) {
    const auto before = domain(image("vda", "vms/web1", "<host name='there' port='1'/>", kAuth));
    const auto reached = [&](const DiskSource& source) {
        return with_disk_sources(before, {DiskSwitch{"vda", source}}).value_or("");
    };
    const auto here = reached(image_source("vms/web1", {"here:2"}));
    EXPECT_THAT(here, HasSubstr("<host name=\"here\" port=\"2\""));
    for (const char* gone : {"there", "<auth", kSecret}) EXPECT_THAT(here, Not(HasSubstr(gone)));
    EXPECT_THAT(reached(image_source("vms/web1", {}, "admin")), Not(HasSubstr("<auth")))
        << "libvirt takes no user without a secret";
    EXPECT_THAT(reached(image_source("vms/web1")), Not(HasSubstr("<host")));
}

TEST(DomainXml, only_what_changes_is_left_to_switch) {
    const auto xml = domain(image("vda", "p/i", kAuth) + disk("vdb", "/b"));
    auto left = switches_left(xml, {DiskSwitch{"vda", image_source("p/i", {"m:1"})},
                                    DiskSwitch{"vdb", {"file", "qcow2", "/b.1"}}});
    ASSERT_TRUE(left);
    ASSERT_EQ(left->size(), 1u);
    EXPECT_EQ(left->front().target, "vdb");
}

TEST(DomainXml, a_disk_whose_layers_are_named_is_left_to_switch_and_names_none_afterwards) {
    const auto layers =
        "<backingStore type='file'><format type='qcow2'/><source file='/b.0'/>"
        "<backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/>"
        "</backingStore></backingStore>";
    const auto xml = domain(disk("vda", "/a", "qcow2", "<backingStore/>") +
                            disk("vdb", "/b.1", "qcow2", layers));
    const std::vector<DiskSwitch> same{{"vda", {"file", "qcow2", "/a"}},
                                       {"vdb", {"file", "qcow2", "/b.1"}}};
    auto left = switches_left(xml, same);
    ASSERT_TRUE(left);
    ASSERT_EQ(left->size(), 1u);
    EXPECT_EQ(left->front().target, "vdb");
    for (const auto& plain : {*with_disk_sources(xml, *left), *without_layers(xml)}) {
        EXPECT_THAT(plain, Not(HasSubstr("/b.0")));
        EXPECT_THAT(plain, HasSubstr("<source file=\"/b.1\""));
        EXPECT_THAT(plain, HasSubstr("<backingStore />")) << "an operator's own word stays";
        EXPECT_TRUE(switches_left(plain, same)->empty());
    }
    const auto shallow = domain(disk("vda", "/a", "qcow2", "<backingStore/>"));
    EXPECT_EQ(*without_layers(shallow), shallow);
}

TEST(DomainXml, a_chain_as_deep_as_libvirt_can_write_it_is_read) {
    std::string layers = "<backingStore/>";
    for (int i = 1; i < 200; ++i)
        layers = fmt::format(
            "<backingStore type='file'><format type='qcow2'/>"
            "<source file='/{}'/>{}</backingStore>",
            i, layers);
    auto chain = chain_of(domain(disk("vda", "/200", "qcow2", layers)), "vda");
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain->size(), 200u);
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
