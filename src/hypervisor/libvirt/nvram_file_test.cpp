#include "hypervisor/libvirt/nvram_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

namespace understudy::libvirt {
namespace {

TEST(NvramFile, qemu_under_its_own_user_reaches_it_whatever_the_umask) {
    std::string name = "/tmp/us-nvram-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    const auto directory = std::filesystem::path(name) / "nvram";
    const auto before = umask(0077);
    const auto written = write_nvram_file((directory / "a_VARS.fd").string(), "variables");
    umask(before);
    EXPECT_TRUE(written) << written.error().text();
    EXPECT_EQ(std::filesystem::status(directory).permissions(), std::filesystem::perms(0711));
    EXPECT_EQ(read_nvram_file((directory / "a_VARS.fd").string()), "variables");
    std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace understudy::libvirt
