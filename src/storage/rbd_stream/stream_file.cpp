#include "storage/rbd_stream/stream_file.hpp"

#include <endian.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

// Reads a file at offsets. StreamCursor goes through it: it reads banners, tags and lengths in
// windows of 4 KiB, and skip() passes over data without reading it. Before a length is used it is
// compared with what is left of the file, so nothing is allocated by it but names of at most 4 KiB.
// Nothing is written or kept.

namespace understudy::rbd_stream {
namespace {

constexpr std::size_t kWindow = 4096;       // between headers is data, so more is seldom used
constexpr std::size_t kLongestName = 4096;  // the limit of Ceph's own reader

}  // namespace

Result<StreamFile> StreamFile::open(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file) return fail(errno_error(errno, "open " + path));
    struct stat status{};
    if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return fail(ErrorKind::invalid, path + " is not a regular file");
    return StreamFile(std::move(file), path, static_cast<std::uint64_t>(status.st_size));
}

std::unexpected<Error> StreamFile::wrong(std::uint64_t offset, std::string_view what) const {
    return fail(ErrorKind::corrupt, fmt::format("{}, at byte {}: {}", path_, offset, what));
}

Result<> StreamFile::read(std::uint64_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
        const auto got = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(errno_error(errno, fmt::format("read {}", path_)));
        if (got == 0) return wrong(offset, "the file ends in the middle");
        offset += static_cast<std::uint64_t>(got);
        into = into.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

Result<std::span<const std::byte>> StreamCursor::take(std::size_t length) {
    if (length > left()) return file_->wrong(file_->size(), "the file ends in the middle");
    const bool inside = at_ >= window_at_ && at_ + length <= window_at_ + window_.size();
    if (!inside) {
        window_.resize(std::min<std::uint64_t>(std::max(length, kWindow), left()));
        window_at_ = at_;
        if (auto read = file_->read(at_, window_); !read) {
            window_.clear();
            return error_of(read);
        }
    }
    const auto found = std::span<const std::byte>(window_).subspan(at_ - window_at_, length);
    at_ += length;
    return found;
}

Result<std::uint8_t> StreamCursor::u8() {
    auto bytes = UNDERSTUDY_VALUE(take(1));
    return std::to_integer<std::uint8_t>(bytes.front());
}

Result<std::uint32_t> StreamCursor::le32() {
    auto bytes = UNDERSTUDY_VALUE(take(sizeof(std::uint32_t)));
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return le32toh(value);
}

Result<std::uint64_t> StreamCursor::le64() {
    auto bytes = UNDERSTUDY_VALUE(take(sizeof(std::uint64_t)));
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return le64toh(value);
}

Result<std::string> StreamCursor::text() {
    const auto place = at_;
    auto length = UNDERSTUDY_VALUE(le32());
    if (length > kLongestName)
        return file_->wrong(place, fmt::format("a name of {} bytes", length));
    auto bytes = UNDERSTUDY_VALUE(take(length));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<> StreamCursor::expect(std::string_view banner) {
    const auto place = at_;
    auto bytes = UNDERSTUDY_VALUE(take(banner.size()));
    if (std::memcmp(bytes.data(), banner.data(), banner.size()) != 0)
        return file_->wrong(place, fmt::format("not '{}'", banner.substr(0, banner.size() - 1)));
    return {};
}

Result<> StreamCursor::skip(std::uint64_t length) {
    if (length > left())
        return file_->wrong(
            at_, fmt::format("{} bytes are said to follow, there are {}", length, left()));
    at_ += length;
    return {};
}

}  // namespace understudy::rbd_stream
