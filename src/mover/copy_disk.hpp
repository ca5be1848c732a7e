#pragma once

#include "ports/storage.hpp"

#include <functional>
#include <memory>
#include <string>

namespace understudy::mover {

// What is copied: extents of one disk and their content.
struct CopySource {
    ByteSize size;                                 // of the disk
    std::unique_ptr<ports::ExtentStream> extents;  // as a pool's changes() or a file's layers
    bool whole = true;  // what is left out is zero; if false, it is as in the base
    std::function<Result<>(ByteOffset, std::span<std::byte>)> read;  // any place of the disk
    std::function<void(ByteOffset, ByteSize)> prefetch;              // may be empty
};

struct CopyTarget {
    ports::Incoming& disk;
    ByteSize size;  // of the disk there; what lies behind it is left out
};

struct Copied {
    ByteSize data;       // of grains that hold something
    std::string digest;  // ContentDigest of the source, also of what the target left out
};

// Copies within this host, from one end to the other, on the model's grain. Grains that are zero
// are written as zeroes. `go_on` is called after every chunk of data with the data copied since;
// its error ends the copy. Neither flushes nor publishes.
Result<Copied> copy_disk(CopySource source, const CopyTarget& target,
                         const std::function<Result<>(ByteSize)>& go_on);

}  // namespace understudy::mover
