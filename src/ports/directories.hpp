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

// Directories on this node that exports are made in and imports are read from. Each has files in
// it and no other directories. Paths are absolute. Thread-safe. What is made here can be read by
// this daemon's user alone.
class Directories {
public:
    virtual ~Directories() = default;

    // Gives the path with its links followed and without "." and "..". Its last part need not
    // exist. not_found: the directory that this part would be in does not exist.
    virtual Result<std::string> resolve(const std::string& path) = 0;
    virtual Result<bool> is_free(const std::string& path) = 0;  // nothing, or an empty directory
    virtual Result<std::vector<std::string>> list(const std::string& path) = 0;  // names, sorted

    virtual Result<> make(const std::string& path) = 0;  // its parent exists
    // Removes the directory with its files. Success if it is not there.
    virtual Result<> remove(const std::string& path) = 0;
    // Renames `from` to `to`, in the same parent directory. The files in `from` must be durable
    // already; their names and the new name are durable on return. refused: `to` is not free.
    virtual Result<> put_in_place(const std::string& from, const std::string& to) = 0;

    // Files. Only regular ones are read, and no link is followed.
    virtual Result<> write_text(const std::string& path, const std::string& text) = 0;
    virtual Result<std::string> read_text(const std::string& path, std::size_t limit) = 0;
    // Reads the whole file. `go_on` is called after every few MiB with the number of bytes read
    // since its last call; if it gives an error, the reading ends with that error.
    virtual Result<FileSum> sum(const std::string& path,
                                const std::function<Result<>(ByteSize)>& go_on) = 0;
};

}  // namespace understudy::ports
