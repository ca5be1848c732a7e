#include "hypervisor/libvirt/embed_status.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace understudy::libvirt {
namespace {

namespace fs = std::filesystem;

TEST(EmbedStatus, a_vm_whose_start_was_cut_off_before_qemu_is_forgotten_and_no_other) {
    std::string root = "/tmp/us-embed-XXXXXX";
    ASSERT_NE(mkdtemp(root.data()), nullptr);
    const auto directory = fs::path(root) / "run" / "qemu";
    EXPECT_TRUE(forget_half_started(root)) << "a new root has nothing";
    fs::create_directories(directory);
    const auto write = [&](const char* name, const char* pid) {
        std::ofstream(directory / name)
            << "<!--\nWARNING: AUTO-GENERATED -->\n<domstatus state='paused' reason='starting up' "
               "pid='"
            << pid << "'>\n  <taint flag='x' pid='0'/>\n</domstatus>\n";
    };
    write("half.xml", "0");
    write("whole.xml", "4711");
    std::ofstream(directory / "half.pid") << " pid='0'";
    ASSERT_TRUE(forget_half_started(root));
    EXPECT_FALSE(fs::exists(directory / "half.xml"));
    EXPECT_TRUE(fs::exists(directory / "whole.xml"));
    EXPECT_TRUE(fs::exists(directory / "half.pid"));
    fs::remove_all(root);
}

}  // namespace
}  // namespace understudy::libvirt
