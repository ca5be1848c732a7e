#include "storage/rbd_stream/diff_writer.hpp"

#include "storage/rbd_stream/diff.hpp"

#include <endian.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace understudy::rbd_stream {
namespace {

void add_le32(std::string& into, std::size_t value) {
    const auto stored = htole32(static_cast<std::uint32_t>(value));
    into.append(reinterpret_cast<const char*>(&stored), sizeof stored);
}

void add_le64(std::string& into, std::uint64_t value) {
    const auto stored = htole64(value);
    into.append(reinterpret_cast<const char*>(&stored), sizeof stored);
}

void add_name(std::string& into, char tag, const std::string& name) {
    if (name.empty()) return;
    into += tag;
    add_le32(into, name.size());
    into += name;
}

std::string record_head(char tag, ByteOffset offset, std::uint64_t length) {
    std::string head(1, tag);
    add_le64(head, offset.count());
    add_le64(head, length);
    return head;
}

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

// A failed write may have left a part of a record: nothing more is written behind that.
class DiffWriter final : public ports::Incoming {
public:
    DiffWriter(int fd, std::string path, ByteSize size, bool whole)
        : fd_(fd), path_(std::move(path)), size_(size), whole_(whole) {}
    ~DiffWriter() override { ::close(fd_); }
    DiffWriter(const DiffWriter&) = delete;
    DiffWriter& operator=(const DiffWriter&) = delete;

    Result<> append(std::span<const std::byte> bytes) {
        if (broken_) return fail(*broken_);
        while (!bytes.empty()) {
            const auto done = ::write(fd_, bytes.data(), bytes.size());
            if (done < 0 && errno == EINTR) continue;
            if (done < 0) return fail(broken_.emplace(errno_error(errno, "write " + path_)));
            bytes = bytes.subspan(static_cast<std::size_t>(done));
        }
        return {};
    }
    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        if (data.empty()) return {};
        UNDERSTUDY_TRY(check(offset, data.size()));
        UNDERSTUDY_TRY(append(bytes_of(record_head('w', offset, data.size()))));
        return append(data);
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        if (length.count() == 0) return {};
        UNDERSTUDY_TRY(check(offset, length.count()));
        if (whole_) return {};
        return append(bytes_of(record_head('z', offset, length.count())));
    }
    Result<> flush() override {
        if (broken_) return fail(*broken_);
        if (::fdatasync(fd_) != 0)
            return fail(broken_.emplace(errno_error(errno, "make durable " + path_)));
        return {};
    }
    Result<> publish() override {
        if (!ended_) UNDERSTUDY_TRY(append(bytes_of("e")));
        ended_ = true;
        if (::fsync(fd_) != 0)
            return fail(broken_.emplace(errno_error(errno, "make durable " + path_)));
        return {};
    }
    Result<> discard() override {
        broken_.emplace(ErrorKind::conflict, path_ + " was discarded");
        if (::unlink(path_.c_str()) != 0 && errno != ENOENT)
            return fail(errno_error(errno, "delete " + path_));
        return {};
    }

private:
    Result<> check(ByteOffset offset, std::uint64_t length) const {
        if (ended_) return fail(ErrorKind::conflict, path_ + " is finished");
        if (offset.count() <= size_.count() && length <= size_.count() - offset.count()) return {};
        return fail(ErrorKind::invalid, fmt::format("{}: bytes {}+{} are outside the disk", path_,
                                                    offset.count(), length));
    }

    int fd_;
    std::string path_;
    ByteSize size_;
    bool whole_;
    bool ended_ = false;
    std::optional<Error> broken_;
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> write_diff(const std::string& path, ByteSize size,
                                                    const std::string& from,
                                                    const std::string& to) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return fail(ErrorKind::invalid, fmt::format("{} exists already", path));
    if (fd < 0) return fail(errno_error(errno, "make " + path));
    auto writer = std::make_unique<DiffWriter>(fd, path, size, from.empty());
    std::string head(kDiffBannerV1);
    add_name(head, 'f', from);
    add_name(head, 't', to);
    head += 's';
    add_le64(head, size.count());
    UNDERSTUDY_TRY(writer->append(bytes_of(head)));
    return writer;
}

}  // namespace understudy::rbd_stream
