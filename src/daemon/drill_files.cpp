#include "daemon/drill_files.hpp"

#include "base/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

// What drills leave, as files below one directory: VM/NAME/ has the evidence of a drill, and
// consoles/TASK.txt what a running copy says on its console. A file of evidence is written whole by
// replace_file; after a crash in keep() some files of that drill may be missing, and the next
// keep() removes what is too much. begin_console first removes what an earlier attempt left. A
// console of 8 MiB that was read to its end is emptied.

namespace understudy::daemon {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKept = 5;
constexpr off_t kMostConsole = off_t{8} << 20;  // then the file is emptied

std::unexpected<Error> failed(const std::error_code& error, const std::string& what) {
    return fail(errno_error(error.value(), what));
}

// QEMU, or libvirt's log daemon on its behalf, has the file open and appends to it.
class ConsoleFile final : public ports::ConsoleLog {
public:
    explicit ConsoleFile(std::string path) : path_(std::move(path)) {}

    Result<std::string> more() override {
        const Fd file(open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
        if (!file && errno == ENOENT) return std::string();  // being rotated
        if (!file) return fail(errno_error(errno, "open " + path_));
        struct stat info{};
        if (fstat(file.get(), &info) != 0) return fail(errno_error(errno, "look at " + path_));
        if (info.st_size < offset_) offset_ = 0;  // it was rotated
        std::string bytes(std::size_t{64} << 10, '\0');
        const auto got = pread(file.get(), bytes.data(), bytes.size(), offset_);
        if (got < 0) return fail(errno_error(errno, "read " + path_));
        offset_ += got;
        bytes.resize(static_cast<std::size_t>(got));
        if (offset_ >= kMostConsole && offset_ >= info.st_size && ftruncate(file.get(), 0) == 0)
            offset_ = 0;
        return bytes;
    }

private:
    const std::string path_;
    off_t offset_ = 0;
};

class DrillFiles final : public ports::Evidence {
public:
    explicit DrillFiles(std::string directory) : directory_(std::move(directory)) {}

    Result<std::string> begin_console(const TaskId& task) override {
        UNDERSTUDY_TRY(end_console(task));
        UNDERSTUDY_TRY(make(directory_, fs::perms(0711)));  // for QEMU under its own user
        UNDERSTUDY_TRY(make(directory_ / "consoles", fs::perms(0711)));
        const auto path = console_of(task);
        const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!file) return fail(errno_error(errno, "make " + path.string()));
        return path.string();
    }
    Result<std::unique_ptr<ports::ConsoleLog>> open_console(const TaskId& task) override {
        return std::make_unique<ConsoleFile>(console_of(task).string());
    }
    // Also removes the files to which libvirt's log daemon rotated it: PATH.0, PATH.1 …
    Result<> end_console(const TaskId& task) override {
        const auto path = console_of(task);
        std::error_code error;
        for (fs::directory_iterator entry(path.parent_path(), error), end; !error && entry != end;
             entry.increment(error)) {
            if (!entry->path().filename().string().starts_with(path.filename().string())) continue;
            std::error_code ignored;
            if (!fs::remove(entry->path(), ignored) && ignored)
                return failed(ignored, "remove " + entry->path().string());
        }
        if (error && error != std::errc::no_such_file_or_directory)
            return failed(error, "list " + path.parent_path().string());
        return {};
    }

    Result<std::string> keep(const VmId& vm, const std::string& name,
                             const std::vector<ports::EvidenceFile>& files) override {
        const auto home = directory_ / vm.text();
        UNDERSTUDY_TRY(make(directory_, fs::perms(0711)));
        UNDERSTUDY_TRY(make(home, fs::perms(0700)));
        UNDERSTUDY_TRY(make(home / name, fs::perms(0700)));
        for (const auto& file : files)
            UNDERSTUDY_TRY(
                base::replace_file((home / name / file.name).string(), file.bytes, 0600));
        prune(home);
        return (home / name).string();
    }

    Result<> forget(const VmId& vm) override {
        std::error_code error;
        fs::remove_all(directory_ / vm.text(), error);
        if (error) return failed(error, "remove " + (directory_ / vm.text()).string());
        return {};
    }

private:
    fs::path console_of(const TaskId& task) const {
        return directory_ / "consoles" / (task.text() + ".txt");
    }

    static Result<> make(const fs::path& directory, fs::perms mode) {
        std::error_code error;
        fs::create_directories(directory, error);
        if (!error) fs::permissions(directory, mode, error);
        if (error) return failed(error, "make " + directory.string());
        return {};
    }

    // If something cannot be removed now, the next keep() tries again.
    static void prune(const fs::path& home) {
        std::vector<fs::path> all;
        std::error_code error;
        for (fs::directory_iterator entry(home, error), end; !error && entry != end;
             entry.increment(error))
            all.push_back(entry->path());
        std::ranges::sort(all);
        for (std::size_t i = 0; i + kKept < all.size(); ++i) fs::remove_all(all[i], error);
    }

    const fs::path directory_;
};

}  // namespace

std::shared_ptr<ports::Evidence> open_drill_files(const std::string& directory) {
    return std::make_shared<DrillFiles>(directory);
}

}  // namespace understudy::daemon
