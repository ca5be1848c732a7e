#include "daemon/halts.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace understudy::daemon {
namespace {

namespace fs = std::filesystem;

class Halts : public testing::Test {
protected:
    Halts() { fs::create_directories(dir); }
    ~Halts() override { fs::remove_all(dir); }
    void touch(const std::string& name) { std::ofstream(dir / name).flush(); }

    fs::path dir = fs::temp_directory_path() / ("us-halts-" + std::to_string(getpid()));
    VmId vm = VmId::random();
};

TEST_F(Halts, without_a_directory_there_is_no_hook) {
    EXPECT_FALSE(halts_in(""));
}

TEST_F(Halts, a_named_point_stands_still_until_its_file_is_gone_and_others_are_passed_and_noted) {
    const auto name = vm.text() + ".move.stop.before";
    const auto reached = dir / (name + ".reached");
    touch(name);
    touch("passed");
    const auto hook = halts_in(dir.string());
    std::atomic<bool> went_on = false;
    std::thread worker([&] {
        hook(vm, "move.check.after");
        hook(vm, "move.stop.before");
        went_on = true;
    });
    while (!fs::exists(reached)) std::this_thread::yield();
    EXPECT_FALSE(went_on);
    fs::remove(reached);
    worker.join();
    EXPECT_FALSE(fs::exists(dir / name));
    std::ifstream passed(dir / "passed");
    std::string first, second;
    passed >> first >> second;
    EXPECT_EQ(first, vm.text() + ".move.check.after");
    EXPECT_EQ(second, name);
}

}  // namespace
}  // namespace understudy::daemon
