#pragma once

#include "base/fd.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

// Small files that must survive a crash, and how they are read. Errors have the kind of their
// errno, and name the path. Every call may be repeated.
namespace understudy::base {

// Replaces the file at `path` by one with these bytes. Its directory must exist. `mode` is the new
// file's mode, less the umask, from the first moment on. A link at `path` is replaced, not
// followed.
//
// On return the bytes and the name are durable. After a crash the whole old file or the whole new
// one is there, and perhaps PATH.new, which the next call replaces. After an error the old file is
// there, and no PATH.new. One exception: if only making the name durable failed, the new file is
// there, and a power loss may bring the old one back. One call at a time for each path.
Result<> replace_file(const std::string& path, std::string_view bytes, unsigned mode);

// The name of what replace_file makes first: PATH.new. For code that removes a file with all that
// belongs to it.
std::string unfinished_name(const std::string& path);

// A whole file, or nothing if there is none. corrupt: it is longer than `limit`. unsupported: it is
// no regular file. unavailable: its length changed while it was read.
Result<std::optional<std::string>> read_file(const std::string& path, std::size_t limit);
// The same for an open file that is at its beginning; `path` is for errors.
Result<std::string> read_whole(const Fd& file, const std::string& path, std::size_t limit);

// Renames within one directory. Durable on return. After a crash the file has one of the two names.
Result<> rename_durably(const std::string& from, const std::string& to);
// Makes the bytes of a file durable, or the names in a directory.
Result<> sync_path(const std::string& path);
// Makes a directory with its missing parents, each with exactly this mode. Durable on return. A
// directory that is there stays as it is.
Result<> make_directories(const std::string& path, unsigned mode);

std::string parent_of(const std::string& path);  // "." for a bare name, "/" for "/name"

}  // namespace understudy::base
