#pragma once

#include "base/error.hpp"
#include "model/proof.hpp"
#include "ports/storage.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace understudy::mover {

model::Sha256 sha256_of(std::span<const std::byte> content);

// What one call of BlockDigests::of may do; it always does one block.
struct DigestLimits {
    std::size_t blocks;
    ByteSize content;  // read from the disk
};

// Digests of a frozen disk's blocks. Only what is allocated is read, so the time depends on that
// and not on the disk's size. One thread; memory of one block.
class BlockDigests {
public:
    // Allocated extents at or after a place, as StoragePool::changes without a base.
    using Allocated = std::function<Result<std::unique_ptr<ports::ExtentStream>>(ByteOffset from)>;
    // Called after each block with what was read for it; an error ends the run.
    using Pace = std::function<Result<>(ByteSize read)>;

    BlockDigests(std::unique_ptr<ports::Reader> reader, Allocated allocated, Pace pace = {});

    ByteSize size() const { return reader_->size(); }
    // The digests of the ranges' blocks in their order, as many as the limits allow. A block that
    // cannot be read is `unreadable`; failure() tells why the first one was.
    Result<std::vector<model::BlockDigest>> of(const std::vector<model::ByteRange>& ranges,
                                               ByteSize block, const DigestLimits& limits);
    const std::string& failure() const { return failure_; }

private:
    Result<model::BlockDigest> digest(ByteOffset at, ByteSize block, ByteSize& read);
    bool holds_data(ByteOffset at, ByteOffset end);
    Result<> advance();

    std::unique_ptr<ports::Reader> reader_;
    const Allocated allocated_;
    const Pace pace_;
    std::vector<std::byte> buffer_;
    std::unique_ptr<ports::ExtentStream> extents_;
    std::optional<ports::Extent> extent_;  // the one that is not passed yet
    ByteOffset passed_;
    bool blind_ = false;  // the listing failed, so every block is read
    std::string failure_;
};

}  // namespace understudy::mover
