#include "daemon/drill_files.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace understudy::daemon {
namespace {

namespace fs = std::filesystem;

class DrillFiles : public ::testing::Test {
protected:
    DrillFiles() {
        std::string pattern = fs::temp_directory_path() / "us-drills.XXXXXX";
        directory_ = mkdtemp(pattern.data());
        evidence_ = open_drill_files(directory_ / "drills");
    }
    ~DrillFiles() override { fs::remove_all(directory_); }

    static std::string content(const fs::path& path) {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    static unsigned mode(const fs::path& path) {
        struct stat info{};
        return stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
    }

    fs::path directory_;
    std::shared_ptr<ports::Evidence> evidence_;
    const VmId vm_ = VmId::random();
    const TaskId task_ = TaskId::random();
};

TEST_F(DrillFiles, keeps_the_newest_five_of_a_vm_for_nobody_else_to_read) {
    const auto other = VmId::random();
    ASSERT_TRUE(evidence_->keep(other, "2026-01-01", {{"result.json", "{}"}}));
    for (const char* name : {"2026-03", "2026-01", "2026-02", "2026-05", "2026-04", "2026-06"})
        ASSERT_TRUE(evidence_->keep(vm_, name, {{"result.json", name}, {"screen.png", "p"}}));
    const auto place = evidence_->keep(vm_, "2026-06", {{"result.json", "again"}});
    ASSERT_TRUE(place);
    EXPECT_EQ(content(fs::path(*place) / "result.json"), "again");
    EXPECT_EQ(mode(fs::path(*place) / "result.json"), 0600u);
    EXPECT_EQ(mode(*place), 0700u);
    const auto home = directory_ / "drills" / vm_.text();
    EXPECT_FALSE(fs::exists(home / "2026-01"));
    EXPECT_TRUE(fs::exists(home / "2026-02" / "screen.png"));
    ASSERT_TRUE(evidence_->forget(vm_));
    EXPECT_FALSE(fs::exists(home));
    EXPECT_TRUE(fs::exists(directory_ / "drills" / other.text()));
    EXPECT_TRUE(evidence_->forget(vm_));
}

TEST_F(DrillFiles, a_console_is_read_while_it_is_written) {
    const auto path = evidence_->begin_console(task_);
    ASSERT_TRUE(path);
    EXPECT_EQ(mode(*path), 0600u);
    auto console = *evidence_->open_console(task_);
    EXPECT_EQ(*console->more(), "");
    std::ofstream(*path, std::ios::app) << "one\n";
    EXPECT_EQ(*console->more(), "one\n");
    std::ofstream(*path, std::ios::app) << std::string(100'000, 'x');
    EXPECT_EQ(console->more()->size(), 65536u);
    EXPECT_EQ(console->more()->size(), 100'000u - 65536u);
    EXPECT_EQ(*console->more(), "");
    std::ofstream(*path + ".0") << "rotated away";
    ASSERT_TRUE(evidence_->end_console(task_));
    EXPECT_TRUE(fs::is_empty(directory_ / "drills" / "consoles"));
    EXPECT_TRUE(evidence_->end_console(task_));
    EXPECT_EQ(*console->more(), "");
}

TEST_F(DrillFiles, a_console_that_never_ends_does_not_fill_the_host) {
    const auto path = evidence_->begin_console(task_);
    ASSERT_TRUE(path);
    auto console = *evidence_->open_console(task_);
    std::ofstream guest(*path, std::ios::app);
    const std::string much(std::size_t{1} << 20, 'x');
    std::size_t read = 0;
    for (int i = 0; i < 20; ++i) {
        guest << much << std::flush;
        while (true) {
            const auto more = console->more();
            ASSERT_TRUE(more);
            if (more->empty()) break;
            read += more->size();
        }
        EXPECT_LT(fs::file_size(*path), std::size_t{10} << 20);
    }
    EXPECT_EQ(read, std::size_t{20} << 20);
}

TEST_F(DrillFiles, what_an_earlier_attempt_wrote_is_gone_when_the_next_begins) {
    const auto path = evidence_->begin_console(task_);
    std::ofstream(*path) << "READY\n";
    ASSERT_TRUE(evidence_->begin_console(task_));
    EXPECT_EQ(*(*evidence_->open_console(task_))->more(), "");
    fs::remove(*path);
    fs::create_symlink("/etc/passwd", *path);
    EXPECT_FALSE((*evidence_->open_console(task_))->more());
}

}  // namespace
}  // namespace understudy::daemon
