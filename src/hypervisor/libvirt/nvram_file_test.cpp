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

// The kernel says that this file is empty, and then there is something to read. A file that changes
// while it is read looks like that: only a part of it would be read.
TEST(NvramFile, that_is_longer_or_shorter_than_it_said_is_not_taken_as_whole) {
    const auto bytes = read_nvram_file("/proc/self/status");
    ASSERT_FALSE(bytes) << bytes->size();
    EXPECT_EQ(bytes.error().kind(), ErrorKind::unavailable);
}

TEST(NvramFile, that_is_missing_is_empty_and_one_that_is_no_file_is_refused) {
    EXPECT_EQ(read_nvram_file("/nonexistent/VARS.fd"), "");
    const auto directory = read_nvram_file("/tmp");
    ASSERT_FALSE(directory);
    EXPECT_EQ(directory.error().kind(), ErrorKind::unsupported);
}

}  // namespace
}  // namespace understudy::libvirt
