#include "daemon/boot_mark.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace understudy::daemon {
namespace {

namespace fs = std::filesystem;

class BootMarkFile : public ::testing::Test {
protected:
    BootMarkFile() {
        std::string name = "/tmp/us-mark-XXXXXX";
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        dir = name;
    }
    ~BootMarkFile() override { fs::remove_all(dir); }

    std::string path() const { return (dir / "state" / "autostart-done").string(); }

    fs::path dir;
};

TEST_F(BootMarkFile, holds_until_the_host_boots_again) {
    fs::create_directory(dir / "state");
    EXPECT_FALSE(BootMark(path(), "first").is_set());
    EXPECT_TRUE(BootMark(path(), "first").set());
    EXPECT_TRUE(BootMark(path(), "first").is_set());
    EXPECT_FALSE(BootMark(path(), "second").is_set());
    EXPECT_TRUE(BootMark(path(), "second").set());
    EXPECT_FALSE(BootMark(path(), "first").is_set());
    EXPECT_TRUE(BootMark(path(), "second").is_set());
}

// Before, nobody looked whether the file was written, and it was not tried again.
TEST_F(BootMarkFile, that_cannot_be_written_says_so_and_is_written_later) {
    BootMark mark(path(), "boot");
    EXPECT_FALSE(mark.set());
    EXPECT_FALSE(mark.is_set());
    fs::create_directory(dir / "state");
    EXPECT_TRUE(mark.set());
    EXPECT_TRUE(mark.is_set());
}

// Half a line, as an older daemon could leave it, is no mark.
TEST_F(BootMarkFile, is_a_whole_line) {
    fs::create_directory(dir / "state");
    std::ofstream(path()) << "boot";
    EXPECT_FALSE(BootMark(path(), "boot").is_set());
}

TEST_F(BootMarkFile, of_a_host_that_does_not_name_its_boots_is_never_set) {
    fs::create_directory(dir / "state");
    EXPECT_TRUE(BootMark(path(), "").set());
    EXPECT_FALSE(BootMark(path(), "").is_set());
    EXPECT_FALSE(fs::exists(path()));
}

}  // namespace
}  // namespace understudy::daemon
