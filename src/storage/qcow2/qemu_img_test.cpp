#include "storage/qcow2/qemu_img.hpp"

#include "storage/qcow2/image/test_tools.hpp"

#include <gtest/gtest.h>

namespace understudy::qcow2 {
namespace {

using testing::run_tool;

class QemuImg : public ::testing::Test {
protected:
    // Names that a shell, or qemu's option parser, would take apart.
    const testing::TemporaryDirectory directory_;
    const std::string base_ = directory_ / "b $(id),a=b:c.raw";
    const std::string top_ = directory_ / "t;'\".qcow2";

    void SetUp() override {
        run_tool({"truncate", "-s", "1M", base_});
        run_tool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base_, "-F", "raw", top_, "2M"});
        testing::run_qemu_io(top_, {"write -P 7 1536k 64k"});
    }
};

TEST_F(QemuImg, commits_into_a_smaller_raw_file_and_can_repeat_it) {
    for (int repeat = 0; repeat < 2; ++repeat) {
        const auto done = commit_layer(top_, "qcow2", base_);
        ASSERT_TRUE(done.has_value()) << done.error().text();
        const auto content = testing::read_file(base_);
        ASSERT_EQ(content.size(), 2U << 20);
        EXPECT_EQ(content[1536 << 10], std::byte{7});
    }
    EXPECT_EQ(testing::as_we_read(top_)[1536 << 10], std::byte{7}) << "the top stays whole";
}

TEST_F(QemuImg, rebases_the_header_only) {
    const auto other = directory_ / "other.raw";
    run_tool({"truncate", "-s", "1M", other});
    const auto done = rebase_header(top_, other, "raw");
    ASSERT_TRUE(done.has_value()) << done.error().text();
    EXPECT_EQ(probe_image(top_, "qcow2")->backing, (BackingFile{other, "raw"}));
}

TEST_F(QemuImg, failures_carry_the_programs_own_words) {
    const auto missing = commit_layer(directory_ / "none", "qcow2", base_);
    ASSERT_FALSE(missing.has_value());
    EXPECT_EQ(missing.error().kind(), ErrorKind::not_found);
    EXPECT_NE(missing.error().text().find("No such file"), std::string::npos);
    const auto wrong = commit_layer(top_, "qcow2", directory_ / "unrelated");
    ASSERT_FALSE(wrong.has_value());
    EXPECT_NE(wrong.error().text().find("qemu-img commit"), std::string::npos);
}

TEST_F(QemuImg, shrinks_a_disk) {
    ASSERT_TRUE(shrink_image(base_, "raw", ByteSize(4096)).has_value());
    EXPECT_EQ(testing::read_file(base_).size(), 4096U);
}

}  // namespace
}  // namespace understudy::qcow2
