#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/header.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace understudy::qcow2 {

// A file gets its own name only when it can be opened. Before that, and after a crash before that,
// it is called PATH + kTemporarySuffix. Such a file is of no use to anyone.
inline constexpr const char* kTemporarySuffix = ".tmp";

// Writes one new qcow2 layer: version 3, 128 KiB clusters of 32 subclusters. Until finish() the
// file is marked dirty (its refcounts are not yet written); QEMU must not be given it.
//
// A crash at any point leaves a file that reopen() takes and that holds everything covered by the
// last completed flush(). What was written after it may or may not be there: no entry on disk ever
// refers to bytes that were not on stable storage before it.
//
// Not thread-safe. After a failed flush() or finish() every later call fails: reopen and go on.
// After a failed write() or zero() (say, no space) the same call may be repeated.
class ImageWriter {
public:
    // size: whole 512-byte sectors. invalid: `path` exists. Durable on return, directory included.
    static Result<std::unique_ptr<ImageWriter>> create(const std::string& path, ByteSize size,
                                                       const std::optional<BackingFile>& backing);
    // Goes on with a file made by create(), finished or not. corrupt: it is not in a state that
    // this class leaves behind; throw it away.
    static Result<std::unique_ptr<ImageWriter>> reopen(const std::string& path);
    ~ImageWriter();  // does not flush
    ImageWriter(const ImageWriter&) = delete;
    ImageWriter& operator=(const ImageWriter&) = delete;

    const std::string& path() const;
    ByteSize size() const;

    // Offsets on the 4 KiB grid, lengths too except up to the disk's end.
    Result<> write(ByteOffset offset, std::span<const std::byte> data);
    Result<> zero(ByteOffset offset, ByteSize length);  // reads as zeroes whatever is below
    Result<> flush();                                   // all so far survives power loss
    // Flushes, writes the refcounts and unmarks the file: a complete image for QEMU, durable
    // together with its directory entry. Idempotent, also over reopen().
    Result<> finish();

private:
    struct State;
    explicit ImageWriter(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// The same for a raw file; what is not written stays a hole.
class RawWriter {
public:
    static Result<std::unique_ptr<RawWriter>> create(const std::string& path, ByteSize size);
    static Result<std::unique_ptr<RawWriter>> reopen(const std::string& path);
    ~RawWriter();
    RawWriter(const RawWriter&) = delete;
    RawWriter& operator=(const RawWriter&) = delete;

    const std::string& path() const;
    ByteSize size() const;
    Result<> write(ByteOffset offset, std::span<const std::byte> data);
    Result<> zero(ByteOffset offset, ByteSize length);
    Result<> flush();
    Result<> finish();

private:
    struct State;
    explicit RawWriter(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Makes an empty qcow2 layer on `backing`, of the same geometry as ImageWriter's: complete for
// QEMU, appearing atomically, durable on return. `size` is the overlay's (≥ 1 sector) and may
// exceed the backing file's. invalid: `path` exists and is not to be replaced.
Result<> create_overlay(const std::string& path, ByteSize size, const BackingFile& backing,
                        IfExists if_exists = IfExists::fail);

}  // namespace understudy::qcow2
