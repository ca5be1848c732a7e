#include "mover/receiver.hpp"

#include "mover/digest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// The target's half of one attempt. accept() checks a chunk's place, decompresses it, compares its
// digest, and only then writes it and counts it. A checkpoint flushes the disks, records the
// durable point (`persist`), and only then gives the acknowledgement. It is due after 256 MiB,
// after 2 s, or when the source asks. finish() compares the totals of both sides. A crash leaves
// the last recorded point, and the next attempt begins there with a new Receiver. Several channels'
// threads may call; they verify side by side and write one at a time.

namespace understudy::mover {
namespace {

using model::Ack;
using model::Chunk;
using model::ExtentKind;

// A source asks again only after thousands of chunks. More open wishes than this are of no use.
constexpr std::size_t kMaxWanted = 64;

std::vector<ByteSize> sizes_of(const std::vector<TargetDisk>& disks) {
    std::vector<ByteSize> sizes;
    for (const auto& disk : disks) sizes.push_back(disk.size);
    return sizes;
}

}  // namespace

Receiver::Receiver(std::vector<TargetDisk> disks, model::DurablePoint start,
                   ReceiverOptions options)
    : options_(std::move(options)),
      sizes_(sizes_of(disks)),
      disks_(std::move(disks)),
      dirty_(disks_.size()),
      reached_(start),
      last_ack_{.totals = {}, .durable = start} {}

Result<> Receiver::check_place(const Chunk& chunk) const {
    const auto wrong = [&](std::string_view why) {
        return fail(ErrorKind::invalid,
                    fmt::format("chunk {} (disk {}, {} bytes at {}) {}", chunk.sequence, chunk.disk,
                                chunk.length.count(), chunk.offset.count(), why));
    };
    if (chunk.disk >= sizes_.size()) return wrong("is for a disk that the snapshot does not have");
    const auto size = sizes_[chunk.disk].count();
    const auto offset = chunk.offset.count();
    const auto length = chunk.length.count();
    if (length == 0 || offset > size || length > size - offset)
        return wrong("does not lie on its disk");
    if (chunk.kind == ExtentKind::data && chunk.length > model::kMaxChunk)
        return wrong("is too large");
    constexpr auto grain = model::kGrain.count();
    if (offset % grain != 0 || (length % grain != 0 && offset + length != size))
        return wrong("is not on the grid of 4 KiB");
    return {};
}

// With the lock held.
Result<> Receiver::still_open() const {
    if (released_) return fail(ErrorKind::conflict, "a newer attempt of this transfer has begun");
    if (broken_) return fail(*broken_);
    return {};
}

Result<> Receiver::accept(const Chunk& chunk, Workspace& workspace) {
    UNDERSTUDY_TRY(check_place(chunk));
    std::span<const std::byte> content;
    if (chunk.kind == ExtentKind::data) {
        auto unpacked =
            UNDERSTUDY_VALUE(workspace.decompress(chunk.codec, chunk.payload, chunk.length));
        content = unpacked;
        if (digest_of(content) != chunk.digest)
            return fail(Error(ErrorKind::corrupt,
                              fmt::format("chunk {} of disk {} at {} was damaged on the way",
                                          chunk.sequence, chunk.disk, chunk.offset.count()))
                            .advising("Send again; if it comes back, check memory and network of "
                                      "both sides."));
    }
    const std::lock_guard lock(mutex_);
    UNDERSTUDY_TRY(still_open());
    if (chunk.sequence < totals_.chunks || ahead_.contains(chunk.sequence)) return {};
    if (chunk.sequence - totals_.chunks > kAhead)
        return fail(ErrorKind::invalid, fmt::format("chunk {} came while chunk {} is missing",
                                                    chunk.sequence, totals_.chunks));
    UNDERSTUDY_TRY(write(chunk, content));
    return record(chunk);
}

// With the lock held.
Result<> Receiver::write(const Chunk& chunk, std::span<const std::byte> content) {
    dirty_[chunk.disk] = true;
    auto& incoming = *disks_[chunk.disk].incoming;
    auto written = chunk.kind == ExtentKind::zero ? incoming.zero(chunk.offset, chunk.length)
                                                  : incoming.write(chunk.offset, content);
    if (written) return {};
    return fail(std::move(written.error())
                    .during(fmt::format("write disk {} at {}", chunk.disk, chunk.offset.count())));
}

// With the lock held.
Result<> Receiver::record(const Chunk& chunk) {
    received_ += ByteSize(chunk.payload.size());
    since_checkpoint_ += ByteSize(chunk.payload.size());
    auto& arrived = ahead_[chunk.sequence];
    add_chunk(arrived.totals, chunk);
    arrived.begin = {.disk = chunk.disk, .offset = chunk.offset};
    arrived.end = {.disk = chunk.disk, .offset = chunk.offset + chunk.length};
    while (!ahead_.empty() && ahead_.begin()->first == totals_.chunks) {
        const auto& next = ahead_.begin()->second;
        if (next.begin < reached_) {
            broken_ =
                Error(ErrorKind::invalid,
                      fmt::format("chunk {} (disk {} at {}) lies before its predecessor",
                                  totals_.chunks, next.begin.disk, next.begin.offset.count()));
            return fail(*broken_);
        }
        totals_.chunks += next.totals.chunks;
        totals_.bytes += next.totals.bytes;
        totals_.digest_high += next.totals.digest_high;
        totals_.digest_low += next.totals.digest_low;
        reached_ = next.end;
        ahead_.erase(ahead_.begin());
    }
    return {};
}

// With the lock held.
bool Receiver::due(Duration now) {
    if (!last_checkpoint_) last_checkpoint_ = now;
    if (totals_.chunks == last_ack_.totals.chunks) return false;
    if (!wanted_.empty() && *wanted_.begin() <= totals_.chunks) return true;
    return since_checkpoint_ >= options_.checkpoint_bytes ||
           now - *last_checkpoint_ >= options_.checkpoint_interval;
}

bool Receiver::checkpoint_due(Duration now) {
    const std::lock_guard lock(mutex_);
    return due(now);
}

// With checkpoint_mutex_ held.
Result<Ack> Receiver::flush_and_persist(Duration now) {
    Ack ack;
    {
        const std::lock_guard lock(mutex_);
        UNDERSTUDY_TRY(still_open());
        ack = {.totals = totals_, .durable = reached_};
        for (std::uint32_t disk = 0; disk < disks_.size(); ++disk) {
            if (!dirty_[disk]) continue;
            if (auto flushed = disks_[disk].incoming->flush(); !flushed)
                return fail(
                    std::move(flushed.error()).during(fmt::format("make disk {} durable", disk)));
            dirty_[disk] = false;
        }
        since_checkpoint_ = ByteSize(0);
        last_checkpoint_ = now;
    }
    if (options_.persist && ack.durable != last_ack_.durable) UNDERSTUDY_TRY(options_.persist(ack));
    const std::lock_guard lock(mutex_);
    last_ack_ = ack;
    wanted_.erase(wanted_.begin(), wanted_.upper_bound(ack.totals.chunks));
    return ack;
}

Result<Ack> Receiver::checkpoint(Duration now) {
    const std::lock_guard lock(checkpoint_mutex_);
    return flush_and_persist(now);
}

Result<std::optional<Ack>> Receiver::checkpoint_if_due(Duration now) {
    if (!checkpoint_due(now)) return std::nullopt;
    const std::lock_guard lock(checkpoint_mutex_);
    if (!checkpoint_due(now)) return std::nullopt;  // another channel's thread has just done it
    auto ack = flush_and_persist(now);
    if (!ack) return error_of(ack);
    return *ack;
}

Result<std::optional<Ack>> Receiver::flush_request(std::uint64_t chunks, Duration now) {
    {
        const std::lock_guard checkpoint_lock(checkpoint_mutex_);
        const std::lock_guard lock(mutex_);
        UNDERSTUDY_TRY(still_open());
        if (chunks <= last_ack_.totals.chunks) return last_ack_;
        if (wanted_.size() < kMaxWanted) wanted_.insert(chunks);
    }
    return checkpoint_if_due(now);
}

Result<std::optional<Ack>> Receiver::take_frame(const protocol::FrameHeader& header,
                                                std::span<const std::byte> payload,
                                                Workspace& workspace, Duration now) {
    using protocol::FrameType;
    switch (header.type) {
        case FrameType::chunk:
            UNDERSTUDY_TRY(accept(protocol::chunk_of(header, payload), workspace));
            return checkpoint_if_due(now);
        case FrameType::flush_request: return flush_request(header.sequence, now);
        case FrameType::error:
            return fail(protocol::decode_error(header, payload).during("the source reports"));
        case FrameType::ack:
        case FrameType::goodbye: break;
    }
    return fail(ErrorKind::invalid, "a frame that a source does not send here");
}

Result<std::optional<Ack>> Receiver::tick(Duration now) {
    return checkpoint_if_due(now);
}

Result<> Receiver::finish(const model::Totals& source) {
    const std::lock_guard lock(mutex_);
    UNDERSTUDY_TRY(still_open());
    if (totals_.chunks < source.chunks)
        return fail(
            Error(ErrorKind::conflict, fmt::format("only {} of {} chunks are here without a gap",
                                                   totals_.chunks, source.chunks))
                .advising("Send again; it goes on where it stopped."));
    if (!ahead_.empty() || totals_ != source)
        return fail(Error(ErrorKind::corrupt,
                          fmt::format("what was received ({} chunks, {}) is not what was sent ({} "
                                      "chunks, {})",
                                      totals_.chunks, base::format_size(ByteSize(totals_.bytes)),
                                      source.chunks, base::format_size(ByteSize(source.bytes))))
                        .advising("Nothing was published. Send again."));
    return {};
}

std::vector<TargetDisk> Receiver::release() {
    const std::lock_guard checkpoint_lock(checkpoint_mutex_);
    const std::lock_guard lock(mutex_);
    released_ = true;
    return std::exchange(disks_, {});
}

model::Totals Receiver::totals() const {
    const std::lock_guard lock(mutex_);
    return totals_;
}

model::DurablePoint Receiver::durable() const {
    const std::lock_guard lock(mutex_);
    return last_ack_.durable;
}

ByteSize Receiver::received() const {
    const std::lock_guard lock(mutex_);
    return received_;
}

}  // namespace understudy::mover
