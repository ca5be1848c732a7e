#include "hypervisor/libvirt/embed_host.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

// A copy for a drill on real QEMU: what adapt() makes of a guest without a screen starts and has a
// screen.

namespace understudy::libvirt {
namespace {

using namespace testing;
using ::testing::StartsWith;

class LiveRehearsal : public ::testing::Test {
protected:
    void SetUp() override {
        disk_ = (EmbedHost::instance().directory / "rehearsed.qcow2").string();
        make_qcow2(disk_, "16M");
    }
    ports::Hypervisor& virt() { return *EmbedHost::instance().hypervisor; }

    // A copy of a guest with those devices.
    VmId copy_of(const std::string& devices, const std::string& console = "") {
        ports::AdaptRequest request;
        request.domain_xml =
            Guest::definition("original", VmId::random(), {{"vda", disk_, "qcow2"}}, devices, "");
        request.disks = {{"vda", {"file", "qcow2", disk_}}};
        request.cut_off = true;
        request.new_id = VmId::random();
        request.new_name = "copy-" + request.new_id->text().substr(0, 8);
        request.console_log = console;
        auto adapted = virt().adapt(request);
        EXPECT_TRUE(adapted) << adapted.error().text();
        auto defined = virt().define(adapted->domain_xml);
        EXPECT_TRUE(defined) << defined.error().text();
        auto started = virt().start(*request.new_id);
        EXPECT_TRUE(started) << started.error().text();
        return *request.new_id;
    }
    void end(const VmId& copy) {
        EXPECT_TRUE(virt().stop(copy));
        EXPECT_TRUE(virt().undefine(copy));
    }

    std::string disk_;
};

TEST_F(LiveRehearsal, a_headless_guest_gives_a_screenshot) {
    const auto copy = copy_of("");
    std::string picture;
    EXPECT_TRUE(eventually([&] {
        auto taken = virt().screenshot(copy);
        if (taken) picture = *taken;
        return taken.has_value();
    }));
    EXPECT_THAT(picture, StartsWith("\x89PNG"));
    end(copy);
    EXPECT_FALSE(virt().screenshot(copy));
}

TEST_F(LiveRehearsal, its_serial_line_is_appended_to_a_file) {
    const auto file = (EmbedHost::instance().directory / "copy.txt").string();
    std::ofstream(file) << "before\n";
    const auto copy = copy_of("<serial type='file'><source path='/nowhere/x'/></serial>", file);
    end(copy);
    EXPECT_EQ(std::filesystem::file_size(file), 7u) << "appended to, not emptied";
}

TEST_F(LiveRehearsal, an_agent_that_is_not_there_does_not_answer) {
    const auto copy = copy_of(
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>");
    auto answers = virt().agent_answers(copy);
    ASSERT_TRUE(answers) << answers.error().text();
    EXPECT_FALSE(*answers);
    end(copy);
}

TEST_F(LiveRehearsal, unplugged_no_port_of_it_answers) {
    const auto copy = copy_of("<interface type='user'><model type='virtio'/></interface>");
    EXPECT_FALSE(virt().answers_on(copy, "127.0.0.1", 22).value());
    end(copy);
}

TEST_F(LiveRehearsal, a_network_that_is_not_here_is_refused_before_anything_is_made) {
    ports::AdaptRequest request;
    request.domain_xml =
        Guest::definition("original", VmId::random(), {{"vda", disk_, "qcow2"}}, "", "");
    request.disks = {{"vda", {"file", "qcow2", disk_}}};
    request.cut_off = true;
    for (const char* name : {"no-such-net", "lo", "../lo", ""}) {
        request.isolated_network = name;
        const auto adapted = virt().adapt(request);
        EXPECT_EQ(adapted.has_value(), request.isolated_network.empty()) << name;
    }
}

TEST_F(LiveRehearsal, the_host_has_memory_to_spare) {
    EXPECT_GT(virt().free_memory().value(), base::MiB(16));
}

}  // namespace
}  // namespace understudy::libvirt
