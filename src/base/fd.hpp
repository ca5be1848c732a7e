#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace understudy::base {

// Owns a file descriptor, or none. An error of close() is ignored, so what must be durable is
// synced before.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(other.release()) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    ~Fd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }  // the caller owns it now
    void reset(int fd = -1);                          // closes what it had

private:
    int fd_ = -1;
};

// For blocking descriptors only. Partial writes and EINTR are handled here. The kind of an error
// comes from errno, and its text names `path`. After an error any part may have been written.
Result<> write_all(const Fd& file, std::span<const std::byte> bytes, const std::string& path);
Result<> write_all(const Fd& file, std::string_view bytes, const std::string& path);
Result<> sync_all(const Fd& file, const std::string& path);  // fsync: content and metadata
// Fills `into`, and gives the number of bytes. It is less only if the file ends.
Result<std::size_t> read_up_to(const Fd& file, std::span<char> into, const std::string& path);

}  // namespace understudy::base

namespace understudy {
using base::Fd;
}  // namespace understudy
