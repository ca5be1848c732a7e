#include "storage/rbd_stream/diff_writer.hpp"

#include "base/fd.hpp"
#include "storage/rbd_stream/diff.hpp"

#include <endian.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

// Writes a v1 diff into a new file: banner and metadata when it begins, then a record for each
// write() or zero() in the order of the calls, and its end by publish(), which makes the file
// durable. After a failed write, flush or publish() nothing more is written. A crash leaves a file
// without its end, which read_structure refuses. Nobody goes on with such a file: its task begins a
// new one.

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

// If a write failed, a part of a record may stand at the end. Nothing more is written then.
class DiffWriter final : public ports::Incoming {
public:
    DiffWriter(Fd file, std::string path, ByteSize size, bool whole)
        : file_(std::move(file)), path_(std::move(path)), size_(size), whole_(whole) {}

    Result<> append(std::span<const std::byte> bytes) {
        if (broken_) return fail(*broken_);
        auto done = base::write_all(file_, bytes, path_);
        if (!done) broken_ = done.error();
        return done;
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
        if (::fdatasync(file_.get()) != 0)
            return fail(broken_.emplace(errno_error(errno, "make durable " + path_)));
        return {};
    }
    Result<> publish() override {
        if (!ended_) UNDERSTUDY_TRY(append(bytes_of("e")));
        ended_ = true;
        auto done = base::sync_all(file_, path_);
        if (!done) broken_ = done.error();
        return done;
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

    Fd file_;
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
    Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file && errno == EEXIST)
        return fail(ErrorKind::invalid, fmt::format("{} exists already", path));
    if (!file) return fail(errno_error(errno, "make " + path));
    auto writer = std::make_unique<DiffWriter>(std::move(file), path, size, from.empty());
    std::string head(kDiffBannerV1);
    add_name(head, 'f', from);
    add_name(head, 't', to);
    head += 's';
    add_le64(head, size.count());
    UNDERSTUDY_TRY(writer->append(bytes_of(head)));
    return writer;
}

}  // namespace understudy::rbd_stream
