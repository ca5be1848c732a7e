#include "base/durable_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>
#include <vector>

// The calls below stand before the C library's in this test program. While a test listens, they
// note what is done to files, and fail or fall short as the test wants.
namespace {

struct Calls {
    bool listening = false;
    std::vector<std::string> seen;  // "write 5", "fsync file", "fsync directory", "rename"
    std::string failing;            // the call that fails, with `error`, every time
    int error = 0;
    int interrupted = 0;                // so many calls fail with EINTR before
    std::size_t most_bytes = 1 << 30;   // of one read or write
    std::function<void()> before_read;  // once

    bool fails(const std::string& call) {
        if (!listening) return false;
        seen.push_back(call);
        if (interrupted > 0 && call != "rename") {
            --interrupted;
            errno = EINTR;
            return true;
        }
        if (failing.empty() || !call.starts_with(failing)) return false;
        errno = error;
        return true;
    }
};

Calls calls;

}  // namespace

extern "C" {
ssize_t write(int fd, const void* data, size_t length) {
    length = calls.listening ? std::min(length, calls.most_bytes) : length;
    if (calls.fails("write " + std::to_string(length))) return -1;
    return syscall(SYS_write, fd, data, length);
}
ssize_t read(int fd, void* data, size_t length) {
    length = calls.listening ? std::min(length, calls.most_bytes) : length;
    if (calls.listening && calls.before_read) std::exchange(calls.before_read, nullptr)();
    if (calls.fails("read")) return -1;
    return syscall(SYS_read, fd, data, length);
}
int fsync(int fd) {
    struct stat status{};
    const bool directory = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    if (calls.fails(directory ? "fsync directory" : "fsync file")) return -1;
    return static_cast<int>(syscall(SYS_fsync, fd));
}
int rename(const char* from, const char* to) noexcept {
    if (calls.fails("rename")) return -1;
    return static_cast<int>(syscall(SYS_rename, from, to));
}
}

namespace understudy::base {
namespace {

namespace fs = std::filesystem;

class DurableFile : public ::testing::Test {
protected:
    DurableFile() {
        std::string name = "/tmp/us-durable-XXXXXX";
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        dir = name;
        path = (dir / "file").string();
    }
    ~DurableFile() override {
        calls = {};
        fs::remove_all(dir);
    }

    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& entry : fs::directory_iterator(dir))
            all.push_back(entry.path().filename().string());
        std::ranges::sort(all);
        return all;
    }
    // Replaces the file with the calls as they are set up. Afterwards they are the system's again.
    Result<> replace(std::string_view bytes) {
        calls.listening = true;
        auto done = replace_file(path, bytes, 0600);
        calls.listening = false;
        return done;
    }
    void let_fail(const std::string& call, int error) {
        calls.failing = call;
        calls.error = error;
    }

    fs::path dir;
    std::string path;
};

using Names = std::vector<std::string>;

TEST_F(DurableFile, is_synced_before_its_name_and_its_name_before_the_call_returns) {
    ASSERT_TRUE(replace("hello"));
    EXPECT_EQ(calls.seen, (Names{"write 5", "fsync file", "rename", "fsync directory"}));
    EXPECT_EQ(read_file(path, 100), "hello");
    EXPECT_EQ(names(), Names{"file"});
}

TEST_F(DurableFile, is_written_whole_by_a_system_that_writes_little_and_is_interrupted) {
    calls.most_bytes = 2;
    calls.interrupted = 3;
    ASSERT_TRUE(replace("hello"));
    calls.listening = true;
    calls.interrupted = 2;
    const auto text = read_file(path, 100);
    calls.listening = false;
    EXPECT_EQ(text, "hello");
}

TEST_F(DurableFile, stays_the_old_one_when_any_call_fails_and_leaves_nothing_beside_it) {
    ASSERT_TRUE(replace_file(path, "old", 0600));
    for (const std::string call : {"write", "fsync file", "rename"}) {
        let_fail(call, ENOSPC);
        const auto done = replace("new");
        ASSERT_FALSE(done) << call;
        EXPECT_EQ(done.error().kind(), ErrorKind::no_space) << call;
        EXPECT_NE(done.error().text().find(path), std::string::npos) << done.error().text();
        EXPECT_EQ(read_file(path, 100), "old") << call;
        EXPECT_EQ(names(), Names{"file"}) << call;
    }
}

// The caller must not believe that a power loss cannot bring the old file back.
TEST_F(DurableFile, is_not_called_durable_when_the_directory_cannot_be_synced) {
    ASSERT_TRUE(replace_file(path, "old", 0600));
    let_fail("fsync directory", EIO);
    EXPECT_FALSE(replace("new"));
    calls.failing.clear();
    EXPECT_TRUE(replace("new"));
    EXPECT_EQ(read_file(path, 100), "new");
}

TEST_F(DurableFile, takes_the_place_of_what_a_crash_left_whatever_that_is) {
    std::ofstream(path + ".new") << "left by a crash, and longer than what comes";
    fs::permissions(path + ".new", fs::perms(0644));
    ASSERT_TRUE(replace_file(path, "new", 0600));
    EXPECT_EQ(read_file(path, 100), "new");
    EXPECT_EQ(fs::status(path).permissions(), fs::perms(0600));

    std::ofstream(dir / "victim") << "precious";
    fs::create_symlink(dir / "victim", path + ".new");
    fs::remove(path);
    fs::create_symlink(dir / "victim", path);
    ASSERT_TRUE(replace_file(path, "newer", 0640));
    EXPECT_EQ(read_file((dir / "victim").string(), 100), "precious");
    EXPECT_EQ(read_file(path, 100), "newer");
    EXPECT_EQ(fs::symlink_status(path).type(), fs::file_type::regular);
}

TEST_F(DurableFile, needs_its_directory) {
    const auto done = replace_file((dir / "missing" / "file").string(), "text", 0600);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::not_found);
}

TEST_F(DurableFile, is_read_whole_or_not_at_all) {
    EXPECT_EQ(read_file(path, 100), std::nullopt);
    ASSERT_TRUE(replace_file(path, "12345", 0600));
    EXPECT_EQ(read_file(path, 5), "12345");
    const auto kind_of = [](const Result<std::optional<std::string>>& text) {
        EXPECT_FALSE(text);
        return text ? ErrorKind::internal : text.error().kind();
    };
    EXPECT_EQ(kind_of(read_file(path, 4)), ErrorKind::corrupt);
    EXPECT_EQ(kind_of(read_file(dir.string(), 100)), ErrorKind::unsupported);
    ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
    EXPECT_EQ(kind_of(read_file((dir / "pipe").string(), 100)), ErrorKind::unsupported);
    for (const std::uintmax_t length : {3, 9}) {
        fs::resize_file(path, 5);
        calls.listening = true;
        calls.before_read = [&] { fs::resize_file(path, length); };
        const auto text = read_file(path, 100);
        calls.listening = false;
        EXPECT_EQ(kind_of(text), ErrorKind::unavailable) << length;
    }
}

TEST_F(DurableFile, may_be_renamed_and_the_directory_is_synced_then) {
    ASSERT_TRUE(replace_file(path, "text", 0600));
    calls.listening = true;
    const auto done = rename_durably(path, path + "2");
    calls.listening = false;
    ASSERT_TRUE(done) << done.error().text();
    EXPECT_EQ(calls.seen, (Names{"rename", "fsync directory"}));
    EXPECT_EQ(names(), Names{"file2"});
}

TEST_F(DurableFile, has_directories_made_for_it_whatever_the_umask) {
    const auto deep = dir / "a" / "b";
    const auto before = umask(0077);
    calls.listening = true;
    const auto made = make_directories(deep.string(), 0711);
    calls.listening = false;
    umask(before);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(calls.seen, (Names{"fsync directory", "fsync directory"}));
    for (const auto& at : {deep, deep.parent_path()})
        EXPECT_EQ(fs::status(at).permissions(), fs::perms(0711)) << at;
    fs::permissions(deep, fs::perms(0700));
    ASSERT_TRUE(make_directories(deep.string(), 0711));
    EXPECT_EQ(fs::status(deep).permissions(), fs::perms(0700));
}

TEST(ParentOf, a_path_is_its_directory) {
    EXPECT_EQ(parent_of("/a/b"), "/a");
    EXPECT_EQ(parent_of("/a"), "/");
    EXPECT_EQ(parent_of("a"), ".");
}

}  // namespace
}  // namespace understudy::base
