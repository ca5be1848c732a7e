#pragma once

#include "base/fd.hpp"

#include <fcntl.h>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace understudy::qcow2 {

// An open regular file or block device. Positional I/O only, so threads may share it.
// Errors name the path.
class ImageFile {
public:
    // flags as for open(2); O_CLOEXEC is added. unsupported: neither file nor block device.
    static Result<ImageFile> open(const std::string& path, int flags, mode_t mode = 0600);

    int fd() const { return fd_.get(); }
    const std::string& path() const { return path_; }
    std::uint64_t device() const { return device_; }
    std::uint64_t inode() const { return inode_; }
    bool is_block_device() const { return block_device_; }

    Result<std::uint64_t> size() const;  // bytes now
    // Reads until the range or the file ends; returns how many bytes there were.
    Result<std::size_t> read_some(std::uint64_t offset, std::span<std::byte> into) const;
    // corrupt: the file ends before the range does.
    Result<> read_exact(std::uint64_t offset, std::span<std::byte> into) const;
    Result<> write(std::uint64_t offset, std::span<const std::byte> data);
    Result<> truncate(std::uint64_t size);
    // Frees the range's blocks; it reads as zeroes. False: this filesystem cannot.
    Result<bool> punch_hole(std::uint64_t offset, std::uint64_t length);
    Result<> sync_data();
    Result<> sync();
    // Asks the kernel to begin writing these dirty pages out. A hint: it never fails.
    void start_writeback(std::uint64_t offset, std::uint64_t length);

private:
    ImageFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
    Error error(std::string_view what) const;  // from errno

    Fd fd_;
    std::string path_;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
    bool block_device_ = false;
};

enum class IfExists { fail, replace };
// Renames within one directory, then makes that durable. invalid: `to` exists, and IfExists::fail.
Result<> move_into_place(const std::string& from, const std::string& to, IfExists if_exists);

}  // namespace understudy::qcow2
