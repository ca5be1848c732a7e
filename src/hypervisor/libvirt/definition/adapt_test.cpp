#include "hypervisor/libvirt/definition/adapt.hpp"

#include "hypervisor/libvirt/definition/domain_xml.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

namespace understudy::libvirt {
namespace {

using model::Severity;
using ports::Adapted;
using ports::AdaptRequest;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kUuid = "6f3a0000-0000-4000-8000-000000000001";

HostFacts host() {
    HostFacts facts;
    facts.host_arch = facts.arch = "x86_64";
    facts.machines = {{"pc", "pc-i440fx-7.2"},
                      {"q35", "pc-q35-7.2"},
                      {"pc-q35-7.2", "pc-q35-7.2"},
                      {"pc-q35-6.2", "pc-q35-6.2"},
                      {"pc-q35-2.12", "pc-q35-2.12"}};
    facts.emulator = "/usr/bin/qemu-system-x86_64";
    facts.kvm = true;
    facts.host_passthrough = true;
    facts.cpu_models = {"Skylake-Client", "EPYC"};
    facts.usable_cpu_models = {"Skylake-Client"};
    facts.loaders = {"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"};
    facts.graphics = {"vnc"};
    facts.tpm_emulator = true;
    facts.networks = {"default", "lab"};
    facts.bridges = {"br0", "br-dmz"};
    facts.addresses = {"10.0.0.2"};
    facts.nvram_dir = "/var/lib/understudy/nvram";
    facts.own_nvram_dir = "/var/lib/libvirt/qemu/nvram";
    facts.exists = [](const std::string& path) {
        static const std::set<std::string> files{"/usr/share/OVMF/OVMF_CODE_4M.fd",
                                                 "/usr/share/OVMF/OVMF_VARS_4M.fd",
                                                 "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
                                                 "/usr/share/OVMF/OVMF_CODE.fd",
                                                 "/boot/vmlinuz",
                                                 "/var/log"};
        return files.contains(path);
    };
    return facts;
}

std::string domain(const std::string& devices, const std::string& rest = "",
                   const std::string& os = "", const std::string& type = "kvm",
                   const std::string& machine = "pc-q35-7.2") {
    return fmt::format(
        "<domain type='{}'><name>web1</name><uuid>{}</uuid>{}<os>{}<type arch='x86_64' "
        "machine='{}'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
        "{}</devices></domain>",
        type, kUuid, rest, os, machine, devices);
}

std::string card(const std::string& type, const std::string& source) {
    return fmt::format(
        "<interface type='{0}'><mac address='52:54:00:aa:bb:cc'/><source {0}='{1}' "
        "portid='7'/><model type='virtio'/><address type='pci' slot='0x03'/></interface>",
        type, source);
}

Adapted adapt(const std::string& xml, const HostFacts& facts = host(), AdaptRequest request = {}) {
    request.domain_xml = xml;
    auto adapted = adapt_definition(request, facts);
    EXPECT_TRUE(adapted) << adapted.error().text();
    return adapted.value_or(Adapted{});
}

std::string severity(const Adapted& adapted, const std::string& key) {
    for (const auto& issue : adapted.issues)
        if (issue.key == key) return issue.severity == Severity::blocks ? "blocks" : "warns";
    return "none";
}

TEST(Adapt, leaves_alone_what_fits) {
    const auto adapted = adapt(domain(card("network", "default") + card("bridge", "br0")));
    EXPECT_THAT(adapted.changes, IsEmpty());
    EXPECT_THAT(adapted.issues, IsEmpty());
    EXPECT_EQ(adapted.nvram_path, "");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("52:54:00:aa:bb:cc"));
}

TEST(Adapt, name_of_another_vm_here_blocks) {
    auto facts = host();
    facts.vms = {{"web1", kUuid}, {"db", "6f3a0000-0000-4000-8000-000000000002"}};
    EXPECT_EQ(severity(adapt(domain(""), facts), "name"), "none") << "it is this very VM";
    AdaptRequest request;
    request.new_name = "db";
    EXPECT_EQ(severity(adapt(domain(""), facts, request), "name"), "blocks");
    facts.vms["web1"] = "6f3a0000-0000-4000-8000-000000000003";
    EXPECT_EQ(severity(adapt(domain(""), facts), "name"), "blocks");
    request.new_name = "web1-drill";
    EXPECT_EQ(severity(adapt(domain(""), facts, request), "name"), "none");
}

TEST(Adapt, disks_get_their_new_sources_and_others_are_named) {
    AdaptRequest request;
    request.disks = {{"vda", {"file", "qcow2", "/pool/a.qcow2"}}};
    const auto adapted =
        adapt(domain("<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                     "<source file='/there/a.img'/><target dev='vda'/></disk>"
                     "<disk type='block' device='disk'><source dev='/dev/sdx'/>"
                     "<target dev='vdb'/></disk>"
                     "<disk type='network' device='cdrom'><source protocol='https' name='x'/>"
                     "<target dev='sda'/></disk>"),
              host(), request);
    auto disks = disks_in(adapted.domain_xml, adapted.domain_xml);
    ASSERT_TRUE(disks);
    ASSERT_EQ(disks->size(), 1u);
    EXPECT_EQ((*disks)[0].source, request.disks[0].source);
    EXPECT_EQ(severity(adapted, "disk:vdb"), "blocks");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("dev=\"sda\""));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("https")));
    EXPECT_EQ(adapted.changes.size(), 3u);
}

TEST(Adapt, networks_go_by_the_map_between_networks_and_bridges) {
    AdaptRequest request;
    request.networks = {{"lan", "br-dmz"}, {"br9", "lab"}, {"dmz", "gone"}};
    const auto adapted = adapt(domain(card("network", "lan") + card("bridge", "br9") +
                                      card("network", "dmz") + card("network", "unmapped")),
                               host(), request);
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<source bridge=\"br-dmz\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<source network=\"lab\""));
    EXPECT_THAT(adapted.changes, Contains("network network lan → bridge br-dmz"));
    EXPECT_THAT(adapted.changes, Contains("network bridge br9 → network lab"));
    EXPECT_EQ(severity(adapted, "network:dmz"), "blocks");
    EXPECT_EQ(severity(adapted, "network:unmapped"), "blocks");
    EXPECT_THAT(adapted.issues.back().text, HasSubstr("understudy peer map PEER network"));
}

TEST(Adapt, drill_keeps_cards_in_their_slots_but_unplugs_them) {
    AdaptRequest request;
    request.cut_off = true;
    request.new_name = "web1-drill";
    request.new_id = *VmId::parse("6f3a0000-0000-4000-8000-00000000000f");
    const auto adapted =
        adapt(domain(card("network", "nowhere") +
                         "<serial type='tcp'><source mode='bind' host='0.0.0.0' service='1'/>"
                         "</serial><graphics type='vnc' port='5901' autoport='no'/>",
                     "<sysinfo type='smbios'><system><entry name='uuid'>" + std::string(kUuid) +
                         "</entry></system></sysinfo>"
                         "<qemu:commandline xmlns:qemu='q'><qemu:arg value='-netdev'/>"
                         "</qemu:commandline>"),
              host(), request);
    EXPECT_EQ(severity(adapted, "network:nowhere"), "none");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<link state=\"down\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("slot=\"0x03\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<interface type=\"user\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<name>web1-drill</name>"));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<serial type=\"pty\""));
    for (const char* gone : {"nowhere", "52:54:00", "5901", "-netdev", kUuid})
        EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(gone)));
}

TEST(Adapt, machine_type_falls_back_to_the_newest_of_its_family) {
    const auto newer = adapt(domain("", "", "", "kvm", "pc-q35-8.2"));
    EXPECT_EQ(severity(newer, "machine"), "warns");
    EXPECT_THAT(newer.domain_xml, HasSubstr("machine=\"pc-q35-7.2\""));
    EXPECT_THAT(newer.changes, Contains("machine type: pc-q35-8.2 → pc-q35-7.2"));
    EXPECT_EQ(severity(adapt(domain("", "", "", "kvm", "pc-q35-rhel9.2.0")), "machine"), "blocks");
    EXPECT_EQ(severity(adapt(domain("", "", "", "kvm", "q35")), "machine"), "none");
}

TEST(Adapt, versions_compare_as_numbers) {
    EXPECT_EQ(choose_machine({{"pc-q35-2.12", ""}, {"pc-q35-2.9", ""}}, "pc-q35-8.0"),
              "pc-q35-2.12");
    EXPECT_EQ(choose_machine({{"pc-i440fx-7.2", ""}}, "pc-q35-8.0"), "");
}

TEST(Adapt, lacking_kvm_means_emulation_and_is_said) {
    auto facts = host();
    facts.kvm = facts.host_passthrough = false;
    const auto adapted = adapt(domain("", "<cpu mode='host-passthrough'/>"), facts);
    EXPECT_EQ(severity(adapted, "kvm"), "warns");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<domain type=\"qemu\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<cpu mode=\"maximum\""));
}

TEST(Adapt, cpu_model_that_cannot_run_here_blocks) {
    const auto cpu = [](const char* model) {
        return fmt::format("<cpu mode='custom'><model>{}</model></cpu>", model);
    };
    EXPECT_THAT(adapt(domain("", cpu("Skylake-Client"))).issues, IsEmpty());
    EXPECT_EQ(severity(adapt(domain("", cpu("EPYC"))), "cpu:EPYC"), "blocks");
    EXPECT_EQ(severity(adapt(domain("", cpu("EPYC"), "", "qemu")), "cpu:EPYC"), "warns");
    EXPECT_EQ(severity(adapt(domain("", cpu("Z80"), "", "qemu")), "cpu:Z80"), "blocks");
}

TEST(Adapt, unknown_architecture_blocks) {
    auto facts = host();
    facts.machines.clear();
    EXPECT_EQ(severity(adapt(domain(""), facts), "arch"), "blocks");
}

TEST(Adapt, uefi_variables_move_to_a_file_of_our_own) {
    const auto adapted = adapt(
        domain("", "",
               "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
               "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/there/web1_VARS.fd</nvram>"));
    EXPECT_THAT(adapted.issues, IsEmpty());
    EXPECT_EQ(adapted.nvram_path, fmt::format("/var/lib/understudy/nvram/{}_VARS.fd", kUuid));
    EXPECT_EQ(nvram_of(adapted.domain_xml)->path, adapted.nvram_path);
    EXPECT_THAT(adapted.domain_xml, HasSubstr("template=\"/usr/share/OVMF/OVMF_VARS_4M.fd\""));
}

TEST(Adapt, of_a_definition_from_here_only_the_disks_change) {
    AdaptRequest request;
    request.from_here = true;
    const auto xml = domain("<tpm><backend type='passthrough'/></tpm>" + card("network", "mine") +
                                "<disk type='file' device='cdrom'><source file='/here/tools.iso'/>"
                                "<target dev='sda'/></disk>",
                            "",
                            "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd"
                            "</loader><nvram>/here/web1_VARS.fd</nvram>");
    const auto adapted = adapt(xml, host(), request);
    EXPECT_THAT(adapted.issues, IsEmpty());
    for (const char* kept : {"<tpm>", "/here/tools.iso", "mine"})
        EXPECT_THAT(adapted.domain_xml, HasSubstr(kept));
    EXPECT_EQ(adapted.nvram_path, "/here/web1_VARS.fd");
    EXPECT_EQ(nvram_of(adapted.domain_xml)->path, "/here/web1_VARS.fd");
    EXPECT_THAT(adapted.changes, IsEmpty());
    auto automatic = domain("", "", "<boot dev='hd'/>");
    automatic.insert(automatic.find("<os>") + 3, " firmware='efi'");
    EXPECT_EQ(adapt(automatic, host(), request).nvram_path,
              "/var/lib/libvirt/qemu/nvram/web1_VARS.fd");
}

TEST(Adapt, uefi_image_is_replaced_only_by_its_like) {
    const auto with_loader = [](const char* path) {
        return adapt(domain("", "", fmt::format("<loader type='pflash'>{}</loader>", path)));
    };
    const auto same_name = with_loader("/opt/ovmf/OVMF_CODE_4M.secboot.fd");
    EXPECT_EQ(severity(same_name, "firmware"), "warns");
    EXPECT_THAT(same_name.domain_xml, HasSubstr(">/usr/share/OVMF/OVMF_CODE_4M.secboot.fd<"));
    const auto same_kind = with_loader("/opt/ovmf/OVMF_CODE_4M.other.fd");
    EXPECT_THAT(same_kind.domain_xml, HasSubstr(">/usr/share/OVMF/OVMF_CODE_4M.fd<"));
    const auto beside = with_loader("/opt/ovmf/OVMF_CODE.fd");
    EXPECT_THAT(beside.domain_xml, HasSubstr(">/usr/share/OVMF/OVMF_CODE.fd<"));
    EXPECT_EQ(severity(with_loader("/opt/edk2/QEMU_EFI.fd"), "firmware"), "blocks");
}

TEST(Adapt, chosen_firmware_is_kept_where_it_exists_and_chosen_anew_where_not) {
    const auto automatic = [](const char* path) {
        auto xml =
            domain("", "", fmt::format("<loader type='pflash' readonly='yes'>{}</loader>", path));
        xml.insert(xml.find("<os>") + 3, " firmware='efi'");
        return adapt(xml);
    };
    const auto kept = automatic("/usr/share/OVMF/OVMF_CODE_4M.fd");
    EXPECT_THAT(kept.domain_xml, Not(HasSubstr("firmware=")));
    EXPECT_THAT(kept.issues, IsEmpty());
    const auto anew = automatic("/opt/ovmf/other.fd");
    EXPECT_THAT(anew.domain_xml, HasSubstr("<os firmware=\"efi\""));
    EXPECT_THAT(anew.domain_xml, Not(HasSubstr("<loader")));
    EXPECT_EQ(severity(anew, "firmware"), "warns");
    EXPECT_NE(anew.nvram_path, "");
}

TEST(Adapt, direct_boot_needs_its_files) {
    EXPECT_EQ(severity(adapt(domain("", "", "<kernel>/boot/vmlinuz</kernel>")), "kernel"), "none");
    EXPECT_EQ(severity(adapt(domain("", "", "<initrd>/boot/nope</initrd>")), "kernel"), "blocks");
}

TEST(Adapt, consoles_that_cannot_be_opened_go_to_a_terminal) {
    const auto adapted =
        adapt(domain("<serial type='file'><source path='/nowhere/serial.log'/></serial>"
                     "<serial type='file'><source path='/var/log/ok.log'/></serial>"
                     "<channel type='unix'><source mode='bind' "
                     "path='/var/lib/libvirt/qemu/channel/target/domain-1-web1/agent.0'/>"
                     "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
                     "<channel type='unix'><source mode='bind' path='/nowhere/socket'/>"
                     "<target type='virtio' name='app'/></channel>"
                     "<channel type='unix'><source mode='bind' path='/var/log/socket'/>"
                     "<target type='virtio' name='app2'/></channel>"));
    EXPECT_EQ(severity(adapted, "serial:/nowhere/serial.log"), "warns");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<serial type=\"pty\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("/var/log/ok.log"));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("channel/target")));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("/nowhere")));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("/var/log/socket"));
}

TEST(Adapt, what_did_not_travel_is_taken_out_and_named_like_the_obstacle) {
    const auto adapted =
        adapt(domain("<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/>"
                     "<product id='0x2'/></source></hostdev>"
                     "<interface type='hostdev'><source><address type='pci' domain='0x0' "
                     "bus='0x5' slot='0x1' function='0x0'/></source></interface>"
                     "<filesystem><source dir='/srv'/><target dir='data'/></filesystem>"
                     "<tpm><backend type='passthrough'/></tpm>"));
    for (const char* key : {"hostdev:usb:1:2", "hostdev:pci:0:5:1.0", "filesystem:data", "tpm"})
        EXPECT_EQ(severity(adapted, key), "blocks") << key;
    for (const char* gone : {"<hostdev", "<interface", "<filesystem", "<tpm"})
        EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(gone)));
}

TEST(Adapt, emulated_tpm_comes_up_fresh_where_there_is_one) {
    const auto tpm = "<tpm><backend type='emulator' version='2.0'/></tpm>";
    const auto with = adapt(domain(tpm));
    EXPECT_EQ(severity(with, "tpm"), "blocks");
    EXPECT_THAT(with.domain_xml, HasSubstr("<tpm"));
    auto facts = host();
    facts.tpm_emulator = false;
    EXPECT_THAT(adapt(domain(tpm), facts).domain_xml, Not(HasSubstr("<tpm")));
}

TEST(Adapt, display_of_another_host_listens_here_only_locally) {
    const auto adapted =
        adapt(domain("<graphics type='vnc' listen='10.9.9.9'><listen "
                     "type='address' address='10.9.9.9'/></graphics>"
                     "<graphics type='vnc' listen='10.0.0.2'/>"
                     "<graphics type='spice'/>"));
    EXPECT_EQ(severity(adapted, "graphics-address"), "warns");
    EXPECT_EQ(severity(adapted, "graphics:spice"), "blocks");
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("10.9.9.9")));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("10.0.0.2"));
}

TEST(Adapt, pinning_huge_pages_and_raw_arguments_are_kept_with_a_warning) {
    const auto adapted =
        adapt(domain("",
                     "<vcpu cpuset='0-3'>4</vcpu><memoryBacking><hugepages/></memoryBacking>"
                     "<seclabel type='static' model='dac'><label>+1:+1</label></seclabel>"
                     "<qemu:commandline xmlns:qemu='q'><qemu:arg value='-x'/>"
                     "</qemu:commandline>"));
    for (const char* key : {"placement", "hugepages", "qemu-arguments"})
        EXPECT_EQ(severity(adapted, key), "warns") << key;
    EXPECT_THAT(adapted.domain_xml, HasSubstr("cpuset"));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("seclabel")));
}

}  // namespace
}  // namespace understudy::libvirt
