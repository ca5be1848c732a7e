#pragma once

#include "base/fd.hpp"
#include "base/units.hpp"

#include <string>
#include <utility>

namespace understudy::qcow2 {

// The work that is left to qemu-img. Paths are absolute and given as they are: no shell, no option
// syntax. Each call returns when the program has ended. conflict: a running QEMU holds the image.
// no_space: the file system is full; the same call may be repeated when there is room.

// Copies everything that `top` holds into `base`, its immediate backing file. `base` grows if it is
// the smaller one. `top` stays as it is, so an attempt that failed is simply repeated.
Result<> commit_layer(const std::string& top, const std::string& top_format,
                      const std::string& base);

// Writes a new backing file into the image's header and nothing else.
Result<> rebase_header(const std::string& image, const std::string& backing,
                       const std::string& backing_format);

// Cuts a disk to a smaller virtual size.
Result<> shrink_image(const std::string& image, const std::string& format, ByteSize size);

// Whether some QEMU program has the image open, judged by the byte-range locks that QEMU takes
// (bytes 100 to 299: RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE in QEMU's block/file-posix.c).
// false also for a missing file.
bool in_use_by_qemu(const std::string& image);

// While this lives, no QEMU can open the image to write to it, by the same locks: a VM that is
// started on it is refused. Reading stays possible. conflict: it is open already.
class WriteGuard {
public:
    static Result<WriteGuard> take(const std::string& image);

private:
    explicit WriteGuard(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace understudy::qcow2
