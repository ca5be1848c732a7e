#pragma once

#include "base/fd.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::rbd_stream {

// A file that is read at offsets. Thread-safe; each thread needs a StreamCursor of its own.
class StreamFile {
public:
    static Result<StreamFile> open(const std::string& path);  // a regular file, no link

    std::uint64_t size() const { return size_; }  // when it was opened
    const std::string& path() const { return path_; }
    // corrupt: the file ends before the range does.
    Result<> read(std::uint64_t offset, std::span<std::byte> into) const;
    // An error of kind corrupt that names this place in the file.
    std::unexpected<Error> wrong(std::uint64_t offset, std::string_view what) const;

private:
    StreamFile(Fd file, std::string path, std::uint64_t size)
        : file_(std::move(file)), path_(std::move(path)), size_(size) {}

    Fd file_;
    std::string path_;
    std::uint64_t size_;
};

// Goes through a file in small pieces. Borrows the file. One thread.
class StreamCursor {
public:
    StreamCursor(const StreamFile& file, std::uint64_t at) : file_(&file), at_(at) {}

    std::uint64_t at() const { return at_; }
    std::uint64_t left() const { return file_->size() - at_; }
    const StreamFile& file() const { return *file_; }

    Result<std::uint8_t> u8();
    Result<std::uint32_t> le32();
    Result<std::uint64_t> le64();
    Result<std::string> text();                // le32 length, at most 4 KiB, and that many bytes
    Result<> expect(std::string_view banner);  // exactly these bytes
    Result<> skip(std::uint64_t length);

private:
    Result<std::span<const std::byte>> take(std::size_t length);

    const StreamFile* file_;
    std::uint64_t at_;
    std::vector<std::byte> window_;  // of the file, from window_at_
    std::uint64_t window_at_ = 0;
};

}  // namespace understudy::rbd_stream
