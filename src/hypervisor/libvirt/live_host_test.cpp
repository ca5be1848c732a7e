#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/embed_host.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>

// A VM's life, its UEFI variables and what the host is able to do, under real QEMU.
namespace understudy::libvirt {
namespace {

using namespace testing;
using ports::VmState;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class LiveHost : public ::testing::Test {
protected:
    LiveHost() : host_(EmbedHost::instance()), virt_(*host_.hypervisor) {
        directory_ =
            host_.directory / ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::create_directories(directory_);
        make_qcow2(path("a"), "16M");
    }
    ~LiveHost() override { std::filesystem::remove_all(directory_); }

    std::string path(const std::string& name) const { return (directory_ / name).string(); }
    std::vector<Guest::Disk> disks() const { return {{"vda", path("a"), "qcow2"}}; }
    VmState state(const Guest& guest) {
        auto described = virt_.describe(guest.id());
        EXPECT_TRUE(described) << described.error().text();
        return described ? described->summary.state : VmState::stopped;
    }
    std::vector<std::string> obstacle_keys(const Guest& guest) {
        std::vector<std::string> keys;
        auto described = virt_.describe(guest.id());
        EXPECT_TRUE(described) << described.error().text();
        if (described)
            for (const auto& issue : described->obstacles) keys.push_back(issue.key);
        return keys;
    }

    EmbedHost& host_;
    ports::Hypervisor& virt_;
    std::filesystem::path directory_;
};

TEST_F(LiveHost, each_step_of_a_vms_life_can_be_repeated) {
    Guest guest("life with $(quotes) ü and spaces", disks());
    EXPECT_EQ(virt_.pause(guest.id()).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(virt_.resume(guest.id()).error().kind(), ErrorKind::conflict);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(virt_.start(guest.id()));
    EXPECT_EQ(state(guest), VmState::running);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(virt_.pause(guest.id()));
    EXPECT_EQ(state(guest), VmState::paused);
    EXPECT_EQ(virt_.start(guest.id()).error().kind(), ErrorKind::conflict);
    EXPECT_EQ(virt_.shutdown(guest.id(), Duration(10)).error().kind(), ErrorKind::conflict);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(virt_.resume(guest.id()));
    EXPECT_EQ(virt_.undefine(guest.id()).error().kind(), ErrorKind::conflict);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(virt_.stop(guest.id()));
    EXPECT_EQ(state(guest), VmState::stopped);
    EXPECT_TRUE(virt_.shutdown(guest.id(), Duration(10)));
    ASSERT_TRUE(virt_.undefine(guest.id()));
    EXPECT_EQ(virt_.describe(guest.id()).error().kind(), ErrorKind::not_found);
    EXPECT_EQ(virt_.start(guest.id()).error().kind(), ErrorKind::not_found);
    EXPECT_TRUE(std::filesystem::exists(path("a")));
    ASSERT_TRUE(virt_.define(Guest::definition("life again", guest.id(), disks(), "", "")));
}

TEST_F(LiveHost, shutdown_that_the_guest_ignores_ends_with_advice) {
    Guest guest("deaf", disks());
    guest.start();
    auto done = virt_.shutdown(guest.id(), Duration(200));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(done.error().advice(), HasSubstr("vm stop"));
    EXPECT_EQ(state(guest), VmState::running);
}

TEST_F(LiveHost, list_and_autostart_show_what_libvirt_knows) {
    Guest guest("listed", disks());
    ASSERT_TRUE(virt_.set_autostart(guest.id(), true));
    auto listed = virt_.list();
    ASSERT_TRUE(listed);
    const auto at = std::find_if(listed->begin(), listed->end(),
                                 [&](const auto& vm) { return vm.id == guest.id(); });
    ASSERT_NE(at, listed->end());
    EXPECT_EQ(at->name, "listed");
    EXPECT_TRUE(at->autostart);
    ASSERT_TRUE(virt_.set_autostart(guest.id(), false));
    EXPECT_FALSE(virt_.describe(guest.id())->summary.autostart);
}

TEST_F(LiveHost, name_that_another_vm_has_is_a_conflict) {
    Guest guest("taken", disks());
    auto defined = virt_.define(Guest::definition("taken", VmId::random(), disks(), "", ""));
    ASSERT_FALSE(defined);
    EXPECT_EQ(defined.error().kind(), ErrorKind::conflict);
    EXPECT_EQ(virt_.define("<domain>").error().kind(), ErrorKind::invalid);
}

TEST_F(LiveHost, missing_disk_file_is_the_disks_fault_not_the_vms) {
    Guest guest("lost", {{"vda", path("nowhere"), "qcow2"}});
    auto described = virt_.describe(guest.id());
    ASSERT_TRUE(described) << described.error().text();
    ASSERT_EQ(described->disks.size(), 1u);
    EXPECT_THAT(described->disks[0].unsupported, HasSubstr("nowhere"));
    auto started = virt_.start(guest.id());
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text(), HasSubstr("nowhere"));
}

TEST_F(LiveHost, saved_memory_forbids_other_disks_and_travelling) {
    Guest guest("saved", disks());
    guest.start();
    guest.save_memory();
    EXPECT_THAT(obstacle_keys(guest), Contains("managed-save"));
    make_overlay(path("a.1"), path("a"), "qcow2", "16M");
    auto done = virt_.set_disks(guest.id(), {{"vda", {"file", "qcow2", path("a.1")}}});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::conflict);
    EXPECT_THAT(done.error().advice(), HasSubstr("managedsave-remove"));
    EXPECT_EQ(virt_.define(virt_.describe(guest.id())->domain_xml).error().kind(),
              ErrorKind::conflict);
}

TEST_F(LiveHost, display_password_is_left_out_kept_here_and_said) {
    Guest guest("secret", disks(), "<graphics type='vnc' passwd='s3cret'/>");
    auto described = virt_.describe(guest.id());
    ASSERT_TRUE(described);
    EXPECT_THAT(described->domain_xml, Not(HasSubstr("s3cret")));
    EXPECT_THAT(obstacle_keys(guest), Contains("graphics-password"));
    make_overlay(path("a.1"), path("a"), "qcow2", "16M");
    ASSERT_TRUE(virt_.set_disks(guest.id(), {{"vda", {"file", "qcow2", path("a.1")}}}));
    EXPECT_THAT(obstacle_keys(guest), Contains("graphics-password"));
}

TEST_F(LiveHost, uefi_variables_are_read_moved_and_survive_a_start) {
    Guest guest("uefi", disks(), "", "firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>");
    auto described = virt_.describe(guest.id());
    ASSERT_TRUE(described) << described.error().text();
    EXPECT_TRUE(described->has_nvram);
    EXPECT_EQ(virt_.read_nvram(guest.id()).value(), "");  // not before the first start
    guest.start();
    auto running = virt_.read_nvram(guest.id());
    ASSERT_TRUE(running) << running.error().text();
    EXPECT_GT(running->size(), 100'000u);
    ASSERT_TRUE(virt_.stop(guest.id()));
    EXPECT_EQ(virt_.read_nvram(guest.id())->size(), running->size());

    ports::AdaptRequest request{
        described->domain_xml, {{"vda", {"file", "qcow2", path("a")}}}, {}, false, "uefi copy",
        VmId::random()};
    auto adapted = virt_.adapt(request);
    ASSERT_TRUE(adapted) << adapted.error().text();
    EXPECT_THAT(adapted->issues, IsEmpty());
    ASSERT_NE(adapted->nvram_path, "");
    auto bytes = *running;
    bytes[bytes.size() - 1] = '\x5a';
    ASSERT_TRUE(virt_.write_nvram(adapted->nvram_path, bytes));
    struct stat info{};
    ASSERT_EQ(stat(adapted->nvram_path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    ASSERT_TRUE(virt_.define(adapted->domain_xml));
    auto started = virt_.start(*request.new_id);
    EXPECT_TRUE(started) << started.error().text();
    EXPECT_EQ(virt_.read_nvram(*request.new_id)->back(), '\x5a');
    EXPECT_TRUE(virt_.stop(*request.new_id));
    EXPECT_TRUE(virt_.undefine(*request.new_id));
    EXPECT_TRUE(std::filesystem::exists(adapted->nvram_path));
}

TEST_F(LiveHost, bios_guest_has_no_variables) {
    Guest guest("bios", disks());
    EXPECT_FALSE(virt_.describe(guest.id())->has_nvram);
    EXPECT_EQ(virt_.read_nvram(guest.id()).value(), "");
    EXPECT_EQ(virt_.write_nvram("relative", "x").error().kind(), ErrorKind::invalid);
}

TEST_F(LiveHost, capabilities_name_machines_cpus_and_firmware) {
    auto capabilities = virt_.capabilities();
    ASSERT_TRUE(capabilities) << capabilities.error().text();
    EXPECT_EQ(capabilities->host_arch, "x86_64");
    EXPECT_THAT(capabilities->machines, Contains("q35"));
    EXPECT_THAT(capabilities->machines, Contains("pc-q35-7.2"));
    EXPECT_THAT(capabilities->cpu_models, Contains("486"));
    EXPECT_EQ(capabilities->uefi, std::filesystem::exists("/usr/share/OVMF/OVMF_CODE_4M.fd"));
}

// It is not enough that adapt()'s definition for a drill looks right: libvirt and QEMU must take
// it.
TEST_F(LiveHost, adapted_drill_from_a_strange_host_starts_here) {
    const auto id = VmId::random();
    auto xml = Guest::definition(
        "elsewhere", id, disks(),
        "<emulator>/usr/libexec/qemu-kvm</emulator>"
        "<interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='prod'/>"
        "<model type='virtio'/></interface>"
        "<disk type='file' device='cdrom'><source file='/iso/gone.iso'/>"
        "<target dev='hdc' bus='ide'/></disk>"
        "<serial type='file'><source path='/nowhere/log'/></serial>"
        "<filesystem type='mount'><source dir='/nowhere'/><target dir='data'/></filesystem>"
        "<graphics type='vnc' port='5999' autoport='no' listen='192.0.2.1'/>",
        "><type arch='x86_64' machine='pc-i440fx-99.0'>hvm</type>");
    ports::AdaptRequest request{
        xml, {{"vda", {"file", "qcow2", path("a")}}}, {}, true, "elsewhere-drill", VmId::random()};
    auto adapted = virt_.adapt(request);
    ASSERT_TRUE(adapted) << adapted.error().text();
    ASSERT_TRUE(virt_.define(adapted->domain_xml)) << adapted->domain_xml;
    auto started = virt_.start(*request.new_id);
    EXPECT_TRUE(started) << started.error().text();
    auto described = virt_.describe(*request.new_id);
    ASSERT_TRUE(described);
    EXPECT_EQ(described->summary.name, "elsewhere-drill");
    EXPECT_THAT(described->domain_xml, HasSubstr("<link state='down'/>"));
    EXPECT_THAT(described->domain_xml, Not(HasSubstr("52:54:00:aa:bb:cc")));
    EXPECT_TRUE(virt_.stop(*request.new_id));
    EXPECT_TRUE(virt_.undefine(*request.new_id));
}

TEST(OpenLibvirt, absent_daemon_is_unavailable_with_advice) {
    auto opened = open_libvirt("qemu+unix:///system?socket=/nowhere/libvirt-sock", "/tmp");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind(), ErrorKind::unavailable);
    EXPECT_THAT(opened.error().advice(), HasSubstr("libvirtd"));
}

TEST(OpenLibvirt, embed_root_is_decoded) {
    EXPECT_EQ(embed_root("qemu:///embed?root=/a%20b/c"), "/a b/c");
    EXPECT_EQ(embed_root("qemu:///system"), "");
}

}  // namespace
}  // namespace understudy::libvirt
