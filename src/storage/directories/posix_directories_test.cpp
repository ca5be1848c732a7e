#include "storage/directories/posix_directories.hpp"
#include "base/temporary_directory_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace understudy::directories {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PosixDirectories : public ::testing::Test {
protected:
    std::string at(const std::string& name) const { return root_ / name; }
    void put(const std::string& name, const std::string& text) const {
        std::ofstream(at(name), std::ios::binary) << text;
    }
    unsigned mode(const std::string& name) const {
        struct stat status{};
        return ::lstat(at(name).c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
    }
    static Result<> on(ByteSize) { return {}; }

    base::TemporaryDirectory root_;
    std::unique_ptr<ports::Directories> directories_ = posix_directories();
};

TEST_F(PosixDirectories, a_directory_is_made_whole_beside_and_renamed) {
    ASSERT_TRUE(directories_->make(at("x.partial")));
    ASSERT_TRUE(directories_->write_text(at("x.partial/words"), "some"));
    EXPECT_EQ(mode("x.partial"), 0700U);
    EXPECT_EQ(mode("x.partial/words"), 0600U);
    EXPECT_EQ(directories_->is_free(at("x")), true);
    ASSERT_TRUE(directories_->put_in_place(at("x.partial"), at("x")));
    EXPECT_EQ(directories_->is_free(at("x")), false);
    EXPECT_EQ(directories_->read_text(at("x/words"), 4), "some");
    EXPECT_THAT(*directories_->list(root_.path()), ElementsAre("x"));
}

TEST_F(PosixDirectories, what_is_there_is_not_replaced_unless_it_is_empty) {
    ASSERT_TRUE(directories_->make(at("full")));
    put("full/precious", "x");
    ASSERT_TRUE(directories_->make(at("empty")));
    put("file", "x");
    ASSERT_TRUE(directories_->make(at("new")));
    for (const char* taken : {"full", "file"}) {
        const auto placed = directories_->put_in_place(at("new"), at(taken));
        ASSERT_FALSE(placed) << taken;
        EXPECT_EQ(placed.error().kind(), ErrorKind::refused);
        EXPECT_EQ(directories_->is_free(at(taken)), false);
    }
    EXPECT_TRUE(fs::exists(at("full/precious")));
    EXPECT_EQ(directories_->is_free(at("empty")), true);
    EXPECT_TRUE(directories_->put_in_place(at("new"), at("empty")));
}

TEST_F(PosixDirectories, removing_takes_a_directory_with_its_files_and_nothing_below_it) {
    ASSERT_TRUE(directories_->remove(at("missing")));
    ASSERT_TRUE(directories_->make(at("x")));
    put("x/a", "1");
    put("kept", "2");
    fs::create_symlink(at("kept"), at("x/link"));
    ASSERT_TRUE(directories_->remove(at("x")));
    EXPECT_THAT(*directories_->list(root_.path()), ElementsAre("kept"));
    ASSERT_TRUE(directories_->make(at("deep")));
    ASSERT_TRUE(directories_->make(at("deep/below")));
    EXPECT_FALSE(directories_->remove(at("deep")));
    EXPECT_TRUE(fs::exists(at("deep/below")));
}

TEST_F(PosixDirectories, sums_a_file_as_sha256sum_does_and_can_be_stopped) {
    put("abc", "abc");
    const auto sum = directories_->sum(at("abc"), on);
    ASSERT_TRUE(sum);
    EXPECT_EQ(sum->size, ByteSize(3));
    EXPECT_EQ(sum->sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    put("empty", "");
    EXPECT_EQ(directories_->sum(at("empty"), on)->sha256,
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    put("large", std::string((4U << 20) + 1, 'x'));
    EXPECT_EQ(directories_->sum(at("large"), on)->size, ByteSize((4U << 20) + 1));
    const auto stopped = directories_->sum(
        at("large"), [](ByteSize) -> Result<> { return fail(ErrorKind::cancelled, "enough"); });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind(), ErrorKind::cancelled);
}

TEST_F(PosixDirectories, reads_no_link_no_directory_no_pipe_and_no_more_than_the_limit) {
    put("words", "12345");
    fs::create_symlink(at("words"), at("link"));
    ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
    ASSERT_TRUE(directories_->make(at("directory")));
    for (const char* name : {"link", "pipe", "directory", "missing"}) {
        EXPECT_FALSE(directories_->read_text(at(name), 100)) << name;
        EXPECT_FALSE(directories_->sum(at(name), on)) << name;
    }
    EXPECT_EQ(directories_->read_text(at("words"), 5), "12345");
    const auto longer = directories_->read_text(at("words"), 4);
    ASSERT_FALSE(longer);
    EXPECT_EQ(longer.error().kind(), ErrorKind::corrupt);
}

TEST_F(PosixDirectories, a_path_is_resolved_whether_or_not_its_last_part_is_there) {
    ASSERT_TRUE(directories_->make(at("real")));
    fs::create_directory_symlink(at("real"), at("link"));
    EXPECT_EQ(directories_->resolve(at("link/new")), at("real/new"));
    EXPECT_EQ(directories_->resolve(at("link")), at("real"));
    EXPECT_EQ(directories_->resolve(at("real/../real/new/")), at("real/new"));
    EXPECT_FALSE(directories_->resolve("relative/new"));
    EXPECT_FALSE(directories_->resolve("/"));
    const auto missing = directories_->resolve(at("no/such"));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind(), ErrorKind::not_found);
    EXPECT_THAT(missing.error().text(), HasSubstr(at("no")));
}

}  // namespace
}  // namespace understudy::directories
