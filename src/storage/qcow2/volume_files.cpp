#include "storage/qcow2/volume_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace understudy::qcow2 {

std::atomic<CrashHook> crash_hook{nullptr};

namespace {

constexpr std::uint64_t kReserveBytes = 1 << 20;  // a few records and their directory blocks

class File {
public:
    File(const std::string& path, int flags, mode_t mode = 0)
        : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    explicit operator bool() const { return fd_ >= 0; }
    int get() const { return fd_; }

private:
    int fd_;
};

std::string parent_of(const std::string& path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> write_new(const std::string& path, std::string_view text) {
    const File file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!file) return fail(errno_error(errno, "create " + path));
    while (!text.empty()) {
        const auto wrote = ::write(file.get(), text.data(), text.size());
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return fail(errno_error(errno, "write " + path));
        text.remove_prefix(static_cast<std::size_t>(wrote));
    }
    if (::fsync(file.get()) != 0) return fail(errno_error(errno, "sync " + path));
    return {};
}

}  // namespace

Result<std::optional<std::string>> read_text(const std::string& path, std::size_t limit) {
    const File file(path, O_RDONLY);
    if (!file && errno == ENOENT) return std::nullopt;
    if (!file) return fail(errno_error(errno, "open " + path));
    std::string text(limit + 1, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const auto got = ::read(file.get(), text.data() + length, text.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(errno_error(errno, "read " + path));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    if (length > limit) return fail(ErrorKind::corrupt, path + " is larger than it can be");
    text.resize(length);
    return text;
}

Result<> write_durably(const std::string& path, std::string_view text) {
    const auto temporary = path + ".tmp";
    if (auto written = write_new(temporary, text); !written) {
        ::unlink(temporary.c_str());
        return fail(with_free_space(std::move(written.error()), parent_of(path)));
    }
    return rename_durably(temporary, path);
}

Result<> rename_durably(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) return fail(errno_error(errno, "rename " + from));
    return sync_path(parent_of(to));
}

Result<> sync_path(const std::string& path) {
    const File file(path, O_RDONLY);
    if (!file) return fail(errno_error(errno, "open " + path));
    if (::fsync(file.get()) != 0) return fail(errno_error(errno, "sync " + path));
    return {};
}

Result<> make_directory(const std::string& path) {
    if (file_exists(path)) return {};
    const auto parent = parent_of(path);
    if (parent != path) UNDERSTUDY_TRY(make_directory(parent));
    if (::mkdir(path.c_str(), 0711) != 0 && errno != EEXIST)
        return fail(with_free_space(errno_error(errno, "create directory " + path), parent));
    // Passable, so that QEMU under its own user reaches the files that libvirt gives it, also with
    // a service's umask.
    if (::chmod(path.c_str(), 0711) != 0)
        return fail(errno_error(errno, "open the way to " + path));
    return sync_path(parent);
}

Result<> remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return fail(errno_error(errno, "remove " + path));
    return {};
}

Result<> remove_directory(const std::string& path) {
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return fail(errno_error(errno, "remove directory " + path));
    return {};
}

void keep_reserve(const std::string& path) {
    if (file_exists(path)) return;
    const auto space = free_space(parent_of(path));
    if (!space || space->free.count() < 8 * kReserveBytes) return;
    const File file(path, O_WRONLY | O_CREAT, 0600);
    if (file && ::posix_fallocate(file.get(), 0, kReserveBytes) != 0) ::unlink(path.c_str());
}

bool release_reserve(const std::string& path) {
    return ::unlink(path.c_str()) == 0;
}

bool file_exists(const std::string& path) {
    struct stat found{};
    return ::stat(path.c_str(), &found) == 0;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entries(path, error);
    if (error == std::errc::no_such_file_or_directory) return names;
    const std::filesystem::directory_iterator end;
    while (!error && entries != end) {
        names.push_back(entries->path().filename().string());
        entries.increment(error);
    }
    if (error) return fail(errno_error(error.value(), "list " + path));
    std::ranges::sort(names);
    return names;
}

std::string change_stamp(const std::string& path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) return {};
    return fmt::format("{}.{:09}", found.st_ctim.tv_sec, found.st_ctim.tv_nsec);
}

ByteSize allocated_bytes(const std::string& path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) return {};
    return ByteSize(static_cast<std::uint64_t>(found.st_blocks) * 512);
}

Result<FreeSpace> free_space(const std::string& path) {
    struct statvfs found{};
    if (::statvfs(path.c_str(), &found) != 0) return fail(errno_error(errno, "statvfs " + path));
    return FreeSpace{.total = ByteSize(std::uint64_t{found.f_blocks} * found.f_frsize),
                     .free = ByteSize(std::uint64_t{found.f_bavail} * found.f_frsize)};
}

Error with_free_space(Error error, const std::string& directory, ByteSize needed) {
    if (error.kind() != ErrorKind::no_space) return error;
    const auto space = free_space(directory);
    if (!space) return error;
    const auto free = base::format_size(space->free);
    if (needed.count() == 0)
        return std::move(error).advising(
            fmt::format("{} free in {}; make room and repeat.", free, directory));
    return std::move(error).advising(fmt::format("{} needed, {} free in {}; make room and repeat.",
                                                 base::format_size(needed), free, directory));
}

}  // namespace understudy::qcow2
