#include "base/fd.hpp"

#include <unistd.h>

#include <cerrno>

namespace understudy::base {

void Fd::reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

Result<> write_all(const Fd& file, std::span<const std::byte> bytes, const std::string& path) {
    while (!bytes.empty()) {
        const auto count = ::write(file.get(), bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail(errno_error(errno, "write " + path));
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

Result<> write_all(const Fd& file, std::string_view bytes, const std::string& path) {
    return write_all(file, std::as_bytes(std::span(bytes)), path);
}

Result<> sync_all(const Fd& file, const std::string& path) {
    while (::fsync(file.get()) != 0)
        if (errno != EINTR) return fail(errno_error(errno, "make durable " + path));
    return {};
}

Result<std::size_t> read_up_to(const Fd& file, std::span<char> into, const std::string& path) {
    std::size_t done = 0;
    while (done < into.size()) {
        const auto count = ::read(file.get(), into.data() + done, into.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail(errno_error(errno, "read " + path));
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

}  // namespace understudy::base
