#include "hypervisor/libvirt/look_at_host.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace understudy::libvirt {
namespace {

TEST(LookAtHost, qemu_with_modules_opens_images_only_by_its_module) {
    const auto directory = std::filesystem::path(testing::TempDir()) / "us-qemu-modules";
    std::filesystem::create_directories(directory);
    const std::vector<std::string> directories{"/nowhere", directory.string()};
    EXPECT_TRUE(opens_images(directories)) << "it may be built in";
    std::ofstream(directory / "accel-tcg-x86_64.so") << "x";
    EXPECT_FALSE(opens_images(directories));
    std::ofstream(directory / "block-rbd.so") << "x";
    EXPECT_TRUE(opens_images(directories));
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace understudy::libvirt
