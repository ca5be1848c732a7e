#include "net/durable_file.hpp"

#include "net/socket.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace understudy::net {
namespace {

Result<> write_all_to(int fd, std::string_view text, const std::string& path) {
    while (!text.empty()) {
        ssize_t count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail(errno_error(errno, "write " + path));
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    if (::fsync(fd) != 0) return fail(errno_error(errno, "sync " + path));
    return {};
}

}  // namespace

Result<> replace_file(const std::string& directory, const std::string& name, std::string_view text,
                      unsigned mode) {
    std::string path = directory + "/" + name;
    std::string unfinished = path + ".new";
    ::unlink(unfinished.c_str());
    Fd file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!file) return fail(errno_error(errno, "create " + unfinished));
    UNDERSTUDY_TRY(write_all_to(file.get(), text, unfinished));
    if (::rename(unfinished.c_str(), path.c_str()) != 0)
        return fail(errno_error(errno, "rename to " + path));
    Fd parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent || ::fsync(parent.get()) != 0) return fail(errno_error(errno, "sync " + directory));
    return {};
}

}  // namespace understudy::net
