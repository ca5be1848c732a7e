#include "hypervisor/libvirt/file_size.hpp"

#include "hypervisor/libvirt/embed_host.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace understudy::libvirt {
namespace {

using namespace testing;

TEST(FileSize, is_the_virtual_one_whatever_the_format) {
    const auto path = std::filesystem::path(::testing::TempDir()) / "us-file-size";
    make_qcow2(path, "5G");
    EXPECT_EQ(size_in_file(path, "qcow2").value(), base::GiB(5));
    EXPECT_LT(size_in_file(path, "raw").value(), base::MiB(2));
    EXPECT_EQ(size_in_file(path, "vmdk").error().kind(), ErrorKind::unsupported);
    std::filesystem::resize_file(path, 10);
    EXPECT_EQ(size_in_file(path, "qcow2").error().kind(), ErrorKind::invalid);
    std::filesystem::remove(path);
    for (const char* format : {"qcow2", "raw"})
        EXPECT_EQ(size_in_file(path, format).error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace understudy::libvirt
