#include "storage/qcow2/disk_format.hpp"

#include "storage/qcow2/image/test_tools.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace understudy::qcow2 {
namespace {

using testing::as_qemu_reads;
using testing::Bytes;
using ::testing::ElementsAre;
using testing::pattern;
using testing::run_tool;
using testing::TemporaryDirectory;
using testing::write_file;

std::vector<std::string> extents(ports::DiskLayer& layer) {
    std::vector<std::string> found;
    auto stream = layer.extents();
    while (stream) {
        auto extent = (*stream)->next();
        if (!extent || !*extent) break;
        found.push_back(((*extent)->kind == model::ExtentKind::data ? "data " : "zero ") +
                        std::to_string((*extent)->offset.count()) + "+" +
                        std::to_string((*extent)->length.count()));
    }
    return found;
}

class Qcow2Format : public ::testing::Test {
protected:
    // A whole disk and an overlay on it that zeroes a part and adds another.
    Qcow2Format() {
        auto whole = format_->create({directory_ / "base.qcow2", base::MiB(8), {}, std::nullopt});
        EXPECT_TRUE(whole);
        EXPECT_TRUE((*whole)->write(ByteOffset(0), content_));
        EXPECT_TRUE((*whole)->publish());
        ports::NewDiskFile overlay{
            directory_ / "top.qcow2", base::MiB(8), {}, ports::NewDiskFile::Base{{}, "base.qcow2"}};
        auto top = format_->create(overlay);
        EXPECT_TRUE(top);
        EXPECT_TRUE((*top)->zero(ByteOffset(4096), ByteSize(4096)));
        EXPECT_TRUE((*top)->write(ByteOffset(base::MiB(4).count()), content_));
        EXPECT_TRUE((*top)->publish());
    }

    TemporaryDirectory directory_;
    std::unique_ptr<ports::DiskFormat> format_ = qcow2_format();
    Bytes content_ = pattern(65536, 1);
};

TEST_F(Qcow2Format, qemu_checks_the_chain_and_reads_what_was_written) {
    for (const char* name : {"base.qcow2", "top.qcow2"})
        run_tool({"qemu-img", "check", "-q", directory_ / name});
    Bytes expected(base::MiB(8).count());
    std::ranges::copy(content_, expected.begin());
    EXPECT_EQ(as_qemu_reads(directory_, directory_ / "base.qcow2"), expected);
    std::fill(expected.begin() + 4096, expected.begin() + 8192, std::byte{0});
    std::ranges::copy(content_, expected.begin() + (4 << 20));
    EXPECT_EQ(as_qemu_reads(directory_, directory_ / "top.qcow2"), expected);
}

TEST_F(Qcow2Format, an_overlay_is_opened_alone_and_tells_its_zeroes) {
    std::filesystem::remove(directory_ / "base.qcow2");
    auto layers = format_->open(directory_ / "top.qcow2", {false, "", ""});
    ASSERT_TRUE(layers) << layers.error().text();
    ASSERT_EQ(layers->size(), 1U);
    EXPECT_THAT(extents(*layers->front()), ElementsAre("zero 4096+4096", "data 4194304+65536"));
    Bytes read(65536);
    ASSERT_TRUE(layers->front()->read(ByteOffset(4 << 20), read));
    EXPECT_EQ(read, content_);
}

// A file that somebody brought may name any file of this host as its backing file.
TEST_F(Qcow2Format, the_file_that_an_overlay_names_is_never_looked_at) {
    write_file(directory_ / "secret", pattern(base::MiB(8).count(), 2));
    run_tool({"qemu-img", "rebase", "-u", "-F", "raw", "-b", directory_ / "secret",
              directory_ / "top.qcow2"});
    auto layers = format_->open(directory_ / "top.qcow2", {false, "", ""});
    ASSERT_TRUE(layers) << layers.error().text();
    EXPECT_THAT(extents(*layers->front()), ElementsAre("zero 4096+4096", "data 4194304+65536"));
    EXPECT_FALSE(format_->open(directory_ / "top.qcow2", {true, "", ""}))
        << "an overlay taken for a whole disk";
    EXPECT_FALSE(format_->open(directory_ / "secret", {true, "", ""})) << "no qcow2 at all";
}

TEST_F(Qcow2Format, links_are_not_followed_and_a_discarded_file_is_gone) {
    std::filesystem::create_symlink(directory_ / "base.qcow2", directory_ / "link");
    EXPECT_FALSE(format_->open(directory_ / "link", {true, "", ""}));
    auto incoming = format_->create({directory_ / "new.qcow2", base::MiB(1), {}, std::nullopt});
    ASSERT_TRUE(incoming);
    ASSERT_TRUE((*incoming)->discard());
    EXPECT_FALSE(std::filesystem::exists(directory_ / "new.qcow2"));
    EXPECT_FALSE(format_->create({directory_ / "base.qcow2", base::MiB(1), {}, std::nullopt}));
}

}  // namespace
}  // namespace understudy::qcow2
