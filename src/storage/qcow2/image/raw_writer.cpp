#include "base/durable_file.hpp"
#include "model/extent.hpp"
#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/writer.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <limits>
#include <vector>

// Writes a raw file into which a snapshot is received. create() makes it under a temporary name,
// with its size and durable, and then renames it. write() and zero() go to the file at once,
// flush() makes them durable, finish() also its directory entry. After a crash reopen() goes on
// with the file: all that a completed flush() covered is there. After a failed flush() or finish()
// every later call fails. One thread.

namespace understudy::qcow2 {
namespace {

constexpr std::uint64_t kWritebackStep = 16U << 20;

Result<> lay_down(const std::string& path, ByteSize size) {
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW));
    UNDERSTUDY_TRY(file.truncate(size.count()));
    return file.sync();
}

}  // namespace

struct RawWriter::State {
    State(ImageFile target, ByteSize bytes) : file(std::move(target)), size(bytes) {}

    Result<> check(ByteOffset offset, std::uint64_t length) const;
    Result<> write_zeroes(std::uint64_t offset, std::uint64_t length);
    void note_written(std::uint64_t begin, std::uint64_t end);

    ImageFile file;
    const ByteSize size;
    std::uint64_t since_writeback = 0;  // bytes
    std::uint64_t dirty_begin = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t dirty_end = 0;
    bool has_unsynced = false;
    std::optional<Error> breakdown;
};

Result<> RawWriter::State::check(ByteOffset offset, std::uint64_t length) const {
    if (breakdown) return fail(*breakdown);
    if (offset.count() <= size.count() && length <= size.count() - offset.count()) return {};
    return fail(ErrorKind::invalid, fmt::format("{}: bytes {}+{} are outside the disk", file.path(),
                                                offset.count(), length));
}

Result<> RawWriter::State::write_zeroes(std::uint64_t offset, std::uint64_t length) {
    const std::vector<std::byte> zeroes(std::min<std::uint64_t>(length, 1U << 20));
    while (length > 0) {
        const auto part = std::min<std::uint64_t>(length, zeroes.size());
        UNDERSTUDY_TRY(file.write(offset, std::span(zeroes).first(part)));
        offset += part;
        length -= part;
    }
    return {};
}

void RawWriter::State::note_written(std::uint64_t begin, std::uint64_t end) {
    dirty_begin = std::min(dirty_begin, begin);
    dirty_end = std::max(dirty_end, end);
    since_writeback += end - begin;
    if (since_writeback < kWritebackStep) return;
    file.start_writeback(dirty_begin, dirty_end - dirty_begin);
    since_writeback = dirty_end = 0;
    dirty_begin = std::numeric_limits<std::uint64_t>::max();
}

RawWriter::RawWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
RawWriter::~RawWriter() = default;

Result<std::unique_ptr<RawWriter>> RawWriter::create(const std::string& path, ByteSize size) {
    if (access(path.c_str(), F_OK) == 0) {
        return fail(ErrorKind::invalid, fmt::format("{} exists already", path));
    }
    const auto temporary = path + kTemporarySuffix;
    auto made = lay_down(temporary, size);
    if (made) made = move_into_place(temporary, path, IfExists::fail);
    if (!made) {
        unlink(temporary.c_str());
        return fail(std::move(made.error()).during("make " + path));
    }
    return reopen(path);
}

Result<std::unique_ptr<RawWriter>> RawWriter::reopen(const std::string& path) {
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDWR));
    auto bytes = UNDERSTUDY_VALUE(file.size());
    auto state = std::make_unique<State>(std::move(file), ByteSize(bytes));
    return std::unique_ptr<RawWriter>(new RawWriter(std::move(state)));
}

const std::string& RawWriter::path() const {
    return state_->file.path();
}

ByteSize RawWriter::size() const {
    return state_->size;
}

Result<> RawWriter::write(ByteOffset offset, std::span<const std::byte> data) {
    UNDERSTUDY_TRY(state_->check(offset, data.size()));
    state_->has_unsynced = true;
    UNDERSTUDY_TRY(state_->file.write(offset.count(), data));
    state_->note_written(offset.count(), offset.count() + data.size());
    return {};
}

Result<> RawWriter::zero(ByteOffset offset, ByteSize length) {
    UNDERSTUDY_TRY(state_->check(offset, length.count()));
    if (length.count() == 0) return {};
    state_->has_unsynced = true;
    auto punched = state_->file.punch_hole(offset.count(), length.count());
    if (!punched) return error_of(punched);
    return *punched ? Result<>{} : state_->write_zeroes(offset.count(), length.count());
}

Result<> RawWriter::flush() {
    if (state_->breakdown) return fail(*state_->breakdown);
    if (!state_->has_unsynced) return {};
    auto done = state_->file.sync_data();
    if (!done) return fail(state_->breakdown.emplace(std::move(done.error()).during("flush")));
    state_->has_unsynced = false;
    return {};
}

Result<> RawWriter::finish() {
    UNDERSTUDY_TRY(flush());
    auto done = state_->file.sync();
    if (done) done = base::sync_path(base::parent_of(path()));
    if (!done) return fail(state_->breakdown.emplace(std::move(done.error()).during("finish")));
    return {};
}

}  // namespace understudy::qcow2
