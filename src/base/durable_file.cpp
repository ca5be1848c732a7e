#include "base/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

// Small files that must survive a crash. A new file is written beside the old one, synced, and
// renamed over it; then the directory is synced. A crash leaves the old file or the new one, and
// perhaps the unfinished one beside it, which the next call replaces.

namespace understudy::base {
namespace {

// O_EXCL: it is ours alone from the first byte on, with this mode.
Result<> write_new(const std::string& path, std::string_view bytes, unsigned mode) {
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!file) return fail(errno_error(errno, "make " + path));
    UNDERSTUDY_TRY(write_all(file, bytes, path));
    return sync_all(file, path);
}

bool is_there(const std::string& path) {
    struct stat found{};
    return ::stat(path.c_str(), &found) == 0;
}

}  // namespace

std::string unfinished_name(const std::string& path) {
    return path + ".new";
}

Result<> replace_file(const std::string& path, std::string_view bytes, unsigned mode) {
    const auto unfinished = unfinished_name(path);
    ::unlink(unfinished.c_str());  // left by a crash
    auto done = write_new(unfinished, bytes, mode);
    if (done && ::rename(unfinished.c_str(), path.c_str()) != 0)
        done = fail(errno_error(errno, "rename to " + path));
    if (!done) {
        ::unlink(unfinished.c_str());  // frees its room
        return done;
    }
    return sync_path(parent_of(path));
}

Result<std::optional<std::string>> read_file(const std::string& path, std::size_t limit) {
    // O_NONBLOCK: a FIFO that lies there must not hang the daemon.
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file && errno == ENOENT) return std::nullopt;
    if (!file) return fail(errno_error(errno, "open " + path));
    return read_whole(file, path, limit);
}

Result<std::string> read_whole(const Fd& file, const std::string& path, std::size_t limit) {
    struct stat found{};
    if (::fstat(file.get(), &found) != 0) return fail(errno_error(errno, "look at " + path));
    if (!S_ISREG(found.st_mode))
        return fail(ErrorKind::unsupported, path + " is not a regular file");
    const auto length = static_cast<std::size_t>(found.st_size);
    if (length > limit)
        return fail(ErrorKind::corrupt,
                    fmt::format("{} has {} bytes, more than {}", path, length, limit));
    std::string bytes(length + 1, '\0');  // one more: it may have grown
    auto got = UNDERSTUDY_VALUE(read_up_to(file, bytes, path));
    if (got != length)
        return fail(ErrorKind::unavailable, path + " changed its length while it was read");
    bytes.resize(length);
    return bytes;
}

Result<> rename_durably(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) return fail(errno_error(errno, "rename " + from));
    return sync_path(parent_of(to));
}

Result<> sync_path(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail(errno_error(errno, "open " + path));
    return sync_all(file, path);
}

Result<> make_directories(const std::string& path, unsigned mode) {
    if (is_there(path)) return {};
    const auto parent = parent_of(path);
    if (parent != path) UNDERSTUDY_TRY(make_directories(parent, mode));
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
        return fail(errno_error(errno, "make directory " + path));
    if (::chmod(path.c_str(), mode) != 0)  // whatever the umask
        return fail(errno_error(errno, "set the mode of " + path));
    return sync_path(parent);
}

std::string parent_of(const std::string& path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace understudy::base
