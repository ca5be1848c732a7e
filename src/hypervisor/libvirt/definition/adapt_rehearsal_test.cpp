#include "hypervisor/libvirt/definition/adapt.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

// Which changes make a definition one for a drill, and that nothing else changes.

namespace understudy::libvirt {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kLog = "/var/lib/understudy/drills/consoles/1.txt";

std::string domain(const std::string& devices, const std::string& more = "") {
    return fmt::format(
        "<domain type='qemu'><name>web1</name>"
        "<uuid>6f3a0000-0000-4000-8000-000000000001</uuid><memory unit='MiB'>512</memory>"
        "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>{}<devices>{}</devices>"
        "</domain>",
        more, devices);
}

HostFacts host() {
    HostFacts facts;
    facts.host_arch = facts.arch = "x86_64";
    facts.machines = {{"pc-q35-7.2", "pc-q35-7.2"}};
    facts.networks = {"cellar"};
    facts.bridges = {"br-cellar"};
    facts.exists = [](const std::string&) { return true; };
    return facts;
}

ports::Adapted rehearse(const std::string& xml, const std::string& network = "") {
    ports::AdaptRequest request;
    request.domain_xml = xml;
    request.cut_off = true;
    request.new_name = "web1-drill-12345678";
    request.new_id = *VmId::parse("6f3a0000-0000-4000-8000-00000000000f");
    request.console_log = kLog;
    request.isolated_network = network;
    auto adapted = adapt_definition(request, host());
    EXPECT_TRUE(adapted) << adapted.error().text();
    return adapted.value_or(ports::Adapted{});
}

TEST(AdaptRehearsal, its_console_is_heard_and_no_other_log_is_written_to) {
    const auto adapted =
        rehearse(domain("<serial type='unix'><source mode='bind' path='/run/talk'/>"
                        "<log file='/var/log/web1' append='on'/><target port='0'/></serial>"
                        "<console type='unix'><source mode='bind' path='/run/talk'/>"
                        "<log file='/var/log/web1' append='on'/></console>"));
    EXPECT_TRUE(adapted.has_console);
    EXPECT_THAT(adapted.domain_xml, HasSubstr(fmt::format("<log file=\"{}\"", kLog)));
    for (const char* gone : {"/var/log/web1", "/run/talk"})
        EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(gone)));
    EXPECT_THAT(adapted.changes, Contains(fmt::format("serial: also to {}", kLog)));
}

TEST(AdaptRehearsal, a_vm_without_a_console_gets_none) {
    const auto adapted = rehearse(domain(""));
    EXPECT_FALSE(adapted.has_console);
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(kLog)));
}

TEST(AdaptRehearsal, only_a_vm_without_a_screen_gets_one) {
    EXPECT_THAT(rehearse(domain("")).domain_xml, HasSubstr("<model type=\"vga\""));
    EXPECT_THAT(rehearse(domain("<video><model type='none'/></video>")).domain_xml,
                Not(HasSubstr("none")));
    const auto has_one = rehearse(domain("<video><model type='qxl' vram='65536'/></video>"));
    EXPECT_THAT(has_one.domain_xml, Not(HasSubstr("vga")));
    EXPECT_THAT(has_one.domain_xml, HasSubstr("vram=\"65536\""));
    auto arm = domain("");
    arm.replace(arm.find("x86_64"), 6, "aarch64");
    EXPECT_THAT(rehearse(arm).domain_xml, Not(HasSubstr("video")));
}

TEST(AdaptRehearsal, its_display_is_on_this_host_alone) {
    const auto adapted = rehearse(
        domain("<graphics type='vnc' port='5901' autoport='no' websocket='5701' listen='0.0.0.0'>"
               "<listen type='address' address='0.0.0.0'/></graphics>"
               "<graphics type='spice' tlsPort='5902'><listen type='network' network='lan'/>"
               "</graphics><graphics type='vnc' socket='/run/web1.vnc'/>"));
    for (const char* gone : {"5901", "5902", "5701", "0.0.0.0", "'lan'", "\"lan\"", "web1.vnc"})
        EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(gone))) << gone;
    EXPECT_THAT(adapted.domain_xml, HasSubstr("listen=\"127.0.0.1\""));
    EXPECT_THAT(adapted.changes, Contains("display: spice, on 127.0.0.1 only"));
}

TEST(AdaptRehearsal, what_talks_to_other_machines_without_being_a_card_is_cut) {
    const auto adapted =
        rehearse(domain("<redirdev bus='usb' type='tcp'><source mode='connect' host='192.0.2.9'/>"
                        "</redirdev><redirdev bus='usb' type='spicevmc'/>"
                        "<rng model='virtio'><backend model='egd' type='tcp'>"
                        "<source mode='connect' host='192.0.2.9' service='1'/></backend></rng>"
                        "<vsock model='virtio'><cid auto='no' address='3'/></vsock>"));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("192.0.2.9")));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("spicevmc"));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("/dev/urandom"));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("address=\"3\"")));
}

TEST(AdaptRehearsal, host_devices_are_taken_out_and_named) {
    const auto adapted =
        rehearse(domain("<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' "
                        "slot='2' function='0'/></source></hostdev>"));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("hostdev")));
    ASSERT_EQ(adapted.issues.size(), 1u);
    EXPECT_THAT(adapted.issues[0].key, HasSubstr("hostdev:"));
}

TEST(AdaptRehearsal, a_crash_leaves_neither_a_half_dead_copy_nor_a_dump) {
    for (const char* kept : {"preserve", "coredump-restart"})
        EXPECT_THAT(rehearse(domain("", fmt::format("<on_crash>{}</on_crash>", kept))).domain_xml,
                    HasSubstr("<on_crash>destroy</on_crash>"));
    EXPECT_THAT(rehearse(domain("", "<on_crash>restart</on_crash>")).domain_xml,
                HasSubstr("<on_crash>restart</on_crash>"));
}

TEST(AdaptRehearsal, an_isolated_network_takes_the_place_of_each_of_its_cards) {
    const std::string card =
        "<interface type='bridge'><mac address='52:54:00:aa:bb:cc'/>"
        "<source bridge='br0'/><vlan><tag id='7'/></vlan><filterref filter='clean'/>"
        "<target dev='vnet7'/><model type='virtio'/></interface>";
    const auto adapted = rehearse(domain(card), "cellar");
    EXPECT_THAT(adapted.domain_xml, HasSubstr("<source network=\"cellar\""));
    EXPECT_THAT(adapted.domain_xml, HasSubstr("52:54:00:aa:bb:cc")) << "guests know cards by it";
    for (const char* gone : {"br0", "vlan", "vnet7", "filterref", "\"down\""})
        EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(gone))) << gone;
    EXPECT_THAT(rehearse(domain(card), "br-cellar").domain_xml,
                HasSubstr("<source bridge=\"br-cellar\""));
    const auto missing = rehearse(domain(card), "attic");
    ASSERT_EQ(missing.issues.size(), 1u);
    EXPECT_EQ(missing.issues[0].key, "network:attic");
}

TEST(AdaptRehearsal, a_network_of_the_vm_itself_is_no_isolated_one) {
    ports::AdaptRequest request;
    request.cut_off = true;
    request.new_id = VmId::random();
    request.domain_xml =
        domain("<interface type='bridge'><source bridge='br-cellar'/></interface>");
    request.isolated_network = "br-cellar";
    EXPECT_EQ(adapt_definition(request, host()).error().kind(), ErrorKind::refused);
    request.networks = {{"br-cellar", "cellar"}};
    EXPECT_TRUE(adapt_definition(request, host()));
    request.isolated_network = "cellar";
    EXPECT_EQ(adapt_definition(request, host()).error().kind(), ErrorKind::refused);
}

TEST(AdaptRehearsal, tells_its_memory_and_whether_an_agent_can_be_asked) {
    const auto adapted =
        rehearse(domain("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
                        "</channel>"));
    EXPECT_TRUE(adapted.has_agent);
    EXPECT_EQ(adapted.memory, base::MiB(512));
    EXPECT_FALSE(rehearse(domain("")).has_agent);
    auto kib = domain("");
    kib.replace(kib.find("unit='MiB'>512"), 14, ">18446744073709551615");
    EXPECT_EQ(rehearse(kib).memory, ByteSize(0));
}

TEST(AdaptRehearsal, nothing_of_it_happens_to_a_promote) {
    ports::AdaptRequest request;
    request.domain_xml = domain("<serial type='pty'/>");
    const auto adapted = adapt_definition(request, host());
    ASSERT_TRUE(adapted);
    EXPECT_THAT(adapted->changes, IsEmpty());
    EXPECT_THAT(adapted->domain_xml, Not(HasSubstr("video")));
}

}  // namespace
}  // namespace understudy::libvirt
