#include "storage/qcow2/image/file.hpp"

#include "base/durable_file.hpp"

#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <utility>

// An open image file: reads and writes at offsets that go on after short results and interruptions,
// holes, syncs. Errors name the path. move_into_place renames a file and syncs its directory: after
// a crash the file has the former or the new name (both, if it came between link and unlink on a
// filesystem without RENAME_NOREPLACE). Threads may share an ImageFile: no call depends on a
// position.

namespace understudy::qcow2 {

Result<ImageFile> ImageFile::open(const std::string& path, int flags, mode_t mode) {
    // O_NONBLOCK: opening a FIFO that someone laid in the pool must not hang.
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, mode));
    if (!fd) return fail(errno_error(errno, fmt::format("open {}", path)));
    ImageFile file(std::move(fd), path);
    struct stat status{};
    if (fstat(file.fd(), &status) != 0) return fail(file.error("examine"));
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        return fail(ErrorKind::unsupported,
                    fmt::format("{} is neither a regular file nor a block device", path));
    }
    file.block_device_ = S_ISBLK(status.st_mode);
    file.device_ = file.block_device_ ? status.st_rdev : status.st_dev;
    file.inode_ = file.block_device_ ? 0 : status.st_ino;
    return file;
}

Error ImageFile::error(std::string_view what) const {
    return errno_error(errno, fmt::format("{} {}", what, path_));
}

Result<std::uint64_t> ImageFile::size() const {
    if (block_device_) {
        std::uint64_t bytes = 0;
        if (ioctl(fd_.get(), BLKGETSIZE64, &bytes) != 0) return fail(error("get the size of"));
        return bytes;
    }
    struct stat status{};
    if (fstat(fd_.get(), &status) != 0) return fail(error("examine"));
    return static_cast<std::uint64_t>(status.st_size);
}

Result<std::size_t> ImageFile::read_some(std::uint64_t offset, std::span<std::byte> into) const {
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t n = pread(fd_.get(), into.data() + done, into.size() - done,
                                static_cast<off_t>(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(error(fmt::format("read at {} of", offset + done)));
        if (n == 0) break;
        done += static_cast<std::size_t>(n);
    }
    return done;
}

Result<> ImageFile::read_exact(std::uint64_t offset, std::span<std::byte> into) const {
    auto got = UNDERSTUDY_VALUE(read_some(offset, into));
    if (got == into.size()) return {};
    return fail(ErrorKind::corrupt, fmt::format("{} ends at byte {}, but {} bytes at {} are needed",
                                                path_, offset + got, into.size(), offset));
}

Result<> ImageFile::write(std::uint64_t offset, std::span<const std::byte> data) {
    std::size_t done = 0;
    while (done < data.size()) {
        const ssize_t n = pwrite(fd_.get(), data.data() + done, data.size() - done,
                                 static_cast<off_t>(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(error(fmt::format("write at {} of", offset + done)));
        if (n == 0) {
            errno = ENOSPC;
            return fail(error(fmt::format("write at {} of", offset + done)));
        }
        done += static_cast<std::size_t>(n);
    }
    return {};
}

Result<> ImageFile::truncate(std::uint64_t size) {
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return fail(error("set the size of"));
    return {};
}

Result<bool> ImageFile::punch_hole(std::uint64_t offset, std::uint64_t length) {
    if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length)) == 0) {
        return true;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) return false;
    return fail(error("punch a hole into"));
}

Result<> ImageFile::sync_data() {
    if (fdatasync(fd_.get()) != 0) return fail(error("make durable (fdatasync)"));
    return {};
}

Result<> ImageFile::sync() {
    if (fsync(fd_.get()) != 0) return fail(error("make durable (fsync)"));
    return {};
}

void ImageFile::start_writeback(std::uint64_t offset, std::uint64_t length) {
    sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                    SYNC_FILE_RANGE_WRITE);
}

Result<> move_into_place(const std::string& from, const std::string& to, IfExists if_exists) {
    const bool replace = if_exists == IfExists::replace;
    const unsigned flags = replace ? 0U : static_cast<unsigned>(RENAME_NOREPLACE);
    int failed = 0;
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) != 0) failed = errno;
    if (failed == EINVAL && !replace) {  // a filesystem without RENAME_NOREPLACE, such as NFS
        failed = link(from.c_str(), to.c_str()) != 0 ? errno : 0;
        if (failed == 0) unlink(from.c_str());
    }
    if (failed == EEXIST) return fail(ErrorKind::invalid, fmt::format("{} exists already", to));
    if (failed != 0) return fail(errno_error(failed, fmt::format("rename {} to {}", from, to)));
    return base::sync_path(base::parent_of(to));
}

}  // namespace understudy::qcow2
