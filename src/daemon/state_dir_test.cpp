#include "daemon/state_dir.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace understudy::daemon {
namespace {

TEST(StateDir, can_be_passed_through_but_not_listed_whatever_the_umask) {
    const auto path =
        std::filesystem::temp_directory_path() / ("us-state-" + std::to_string(getpid()));
    const auto before = umask(0077);
    const auto made = make_state_dir(path.string());
    umask(before);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0711));
    ASSERT_EQ(chmod(path.c_str(), 0700), 0);
    ASSERT_TRUE(make_state_dir(path.string()));
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0700))
        << "what an operator chose stays";
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace understudy::daemon
