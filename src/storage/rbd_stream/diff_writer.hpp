#pragma once

#include "ports/storage.hpp"

#include <memory>
#include <string>

namespace understudy::rbd_stream {

// Begins a v1 diff in a new file. Without `from` the diff is whole: it is for an image that reads
// as zeroes, and zeroes are left out of it. invalid: `path` exists.
Result<std::unique_ptr<ports::Incoming>> write_diff(const std::string& path, ByteSize size,
                                                    const std::string& from, const std::string& to);

}  // namespace understudy::rbd_stream
