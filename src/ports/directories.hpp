#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace understudy::ports {

struct FileSum {
    ByteSize size;
    std::string sha256;  // lower-case hex
};

// Directories that operators carry about, on this node: one of files, nothing below. Paths are
// absolute. Thread-safe. What is made here is readable by this daemon's user alone.
class Directories {
public:
    virtual ~Directories() = default;

    // The path with its links followed and no "." or ".." in it; its last part need not exist.
    // not_found: the directory that it would be in.
    virtual Result<std::string> resolve(const std::string& path) = 0;
    virtual Result<bool> is_free(const std::string& path) = 0;  // nothing, or an empty directory
    virtual Result<std::vector<std::string>> list(const std::string& path) = 0;  // names, sorted

    virtual Result<> make(const std::string& path) = 0;  // its parent exists
    virtual Result<> remove(
        const std::string& path) = 0;  // with its files; fine if it is not there
    // Makes all of `from` durable, then renames it to `to`, beside it. refused: `to` is not free.
    virtual Result<> put_in_place(const std::string& from, const std::string& to) = 0;

    // Files. Only regular ones are read, and no link is followed.
    virtual Result<> write_text(const std::string& path, const std::string& text) = 0;
    virtual Result<std::string> read_text(const std::string& path, std::size_t limit) = 0;
    // Reads the whole file; `go_on` is called after every few MiB with what has been read.
    virtual Result<FileSum> sum(const std::string& path,
                                const std::function<Result<>(ByteSize)>& go_on) = 0;
};

}  // namespace understudy::ports
