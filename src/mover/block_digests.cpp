#include "mover/block_digests.hpp"

#include "mover/digest.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

// SHA-256 of a frozen disk's blocks, by which two disks are compared. A block that no listed extent
// touches is zero and is not read. What cannot be read is reported as `unreadable`, with the reason
// of the first one in failure(), and the next block follows. If the listing fails, every block is
// read. One thread; memory of one block. Nothing is kept.

namespace understudy::mover {

model::Sha256 sha256_of(std::span<const std::byte> content) {
    model::Sha256 digest;
    unsigned length = 0;
    UNDERSTUDY_INVARIANT(
        EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.data()),
                   &length, EVP_sha256(), nullptr) == 1 &&
            length == digest.size(),
        "SHA-256");
    return digest;
}

BlockDigests::BlockDigests(std::unique_ptr<ports::Reader> reader, Allocated allocated, Pace pace)
    : reader_(std::move(reader)), allocated_(std::move(allocated)), pace_(std::move(pace)) {}

Result<std::vector<model::BlockDigest>> BlockDigests::of(
    const std::vector<model::ByteRange>& ranges, ByteSize block, const DigestLimits& limits) {
    std::vector<model::BlockDigest> digests;
    ByteSize content;
    for (const auto& range : ranges)
        for (auto at = range.offset; at < range.end(); at = at + block) {
            const bool enough = digests.size() >= limits.blocks || content >= limits.content;
            if (enough && !digests.empty()) return digests;
            ByteSize read;
            auto made = UNDERSTUDY_VALUE(digest(at, block, read));
            digests.push_back(made);
            content += read;
            if (pace_) UNDERSTUDY_TRY(pace_(read));
        }
    return digests;
}

Result<model::BlockDigest> BlockDigests::digest(ByteOffset at, ByteSize block, ByteSize& read) {
    using Kind = model::BlockDigest::Kind;
    const ByteOffset disk_end(size().count());
    if (at >= disk_end || !holds_data(at, at + block)) return model::BlockDigest{};
    const auto length = std::min(at + block, disk_end) - at;
    buffer_.resize(block.count());
    std::fill(buffer_.begin() + static_cast<std::ptrdiff_t>(length.count()), buffer_.end(),
              std::byte{0});
    read = length;
    auto done = reader_->read(at, std::span(buffer_).first(length.count()));
    if (!done) {
        if (failure_.empty()) failure_ = done.error().text();
        return model::BlockDigest{Kind::unreadable, {}};
    }
    if (all_zero(buffer_)) return model::BlockDigest{};
    return model::BlockDigest{Kind::data, sha256_of(buffer_)};
}

// If the listing cannot be read, every block may hold data.
bool BlockDigests::holds_data(ByteOffset at, ByteOffset end) {
    if (blind_) return true;
    Result<> listed;
    if (!extents_ || at < passed_) {
        auto begun = allocated_(at);
        if (begun) {
            extents_ = std::move(*begun);
            listed = advance();
        } else {
            listed = std::unexpected(std::move(begun.error()));
        }
    }
    passed_ = at;
    while (listed && extent_ && extent_->end() <= at) listed = advance();
    if (!listed) {
        blind_ = true;
        if (failure_.empty()) failure_ = listed.error().text();
        return true;
    }
    return extent_ && extent_->offset < end;
}

Result<> BlockDigests::advance() {
    do {
        auto next = UNDERSTUDY_VALUE(extents_->next());
        extent_ = next;
    } while (extent_ && extent_->kind == model::ExtentKind::zero);
    return {};
}

}  // namespace understudy::mover
