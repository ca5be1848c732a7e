#include "storage/qcow2/volume_files.hpp"

#include "base/durable_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

// What the driver needs of the file system beside base/durable_file: errors that say how much room
// there is, listings, change stamps, and the reserve. The reserve is a file of 1 MiB. It is given
// up when a full disk keeps a record from being written, and made again once eight times as much is
// free. Removals are not made durable: if a file is back after a power loss, the next call removes
// it as a leftover.

namespace understudy::qcow2 {

std::atomic<CrashHook> crash_hook{nullptr};

namespace {

constexpr std::uint64_t kReserveBytes = 1 << 20;  // a few records and their directory blocks

}  // namespace

Result<> write_durably(const std::string& path, std::string_view text) {
    auto written = base::replace_file(path, text, 0600);
    if (!written) return fail(with_free_space(std::move(written.error()), base::parent_of(path)));
    return {};
}

Result<> make_directory(const std::string& path) {
    auto made = base::make_directories(path, 0711);
    if (!made) return fail(with_free_space(std::move(made.error()), base::parent_of(path)));
    return {};
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
    const auto space = free_space(base::parent_of(path));
    if (!space || space->free.count() < 8 * kReserveBytes) return;
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
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
