#include "mover/sender.hpp"

#include "mover/digest.hpp"

#include <fmt/format.h>

#include <algorithm>

// The source's half of one attempt. plan_ahead() lists and cuts the extents of disk after disk and
// announces their reading; next() takes the next chunk, reads it, looks for zeroes, makes the
// digest and compresses. account() adds each chunk to the totals in the order of sequence, and
// on_ack() compares those with what the target counted. The window bounds what is not acknowledged.
// Channels' threads share one Sender and read side by side. Nothing is kept: the next attempt
// begins at the target's durable point.

namespace understudy::mover {
namespace {

using model::Chunk;
using model::Codec;
using model::ExtentKind;

// A cold source needs 8 or more reads in flight. This much is announced before it is read.
constexpr std::size_t kAheadChunks = 64;
constexpr ByteSize kAheadBytes = base::MiB(16);
// Opening one more connection costs about as much as sending this.
constexpr ByteSize kWorthAChannel = base::MiB(4);

}  // namespace

Sender::Sender(std::vector<SourceDisk> disks, model::DurablePoint start, SenderOptions options)
    : disks_(std::move(disks)),
      options_(std::move(options)),
      disk_(start.disk),
      from_(start.offset),
      durable_(start),
      chooser_(options_.codecs, options_.first_codec) {
    if (options_.rate_limit) chooser_.set_rate_limit(options_.rate_limit());
}

// With the lock held.
Result<> Sender::plan_ahead() {
    while (planned_.size() < kAheadChunks && planned_data_ < kAheadBytes && disk_ < disks_.size()) {
        auto& disk = disks_[disk_];
        const auto step = [&] { return fmt::format("list the changes of disk {}", disk_); };
        if (!chunker_) {
            auto extents = disk.changes(from_);
            if (!extents) return fail(std::move(extents.error()).during(step()));
            chunker_ = std::make_unique<Chunker>(std::move(*extents), disk.reader->size(), from_,
                                                 options_.chunking);
        }
        auto extent = chunker_->next();
        if (!extent) return fail(std::move(extent.error()).during(step()));
        if (!*extent) {
            chunker_.reset();
            ++disk_;
            from_ = ByteOffset(0);
            continue;
        }
        planned_.push_back({sequence_++, disk_, **extent});
        if ((*extent)->kind != ExtentKind::data) continue;
        planned_data_ += (*extent)->length;
        disk.reader->prefetch((*extent)->offset, (*extent)->length);
    }
    return {};
}

Result<std::optional<Sender::Planned>> Sender::take_planned() {
    const std::lock_guard lock(mutex_);
    UNDERSTUDY_TRY(plan_ahead());
    if (planned_.empty()) return std::nullopt;
    UNDERSTUDY_INVARIANT(slots_.size() < 2 * kWindow, "chunks are made beyond the window");
    const auto planned = planned_.front();
    planned_.pop_front();
    if (planned.extent.kind == ExtentKind::data) planned_data_ -= planned.extent.length;
    slots_.emplace_back();
    return planned;
}

Result<std::optional<Chunk>> Sender::next(Workspace& workspace) {
    if (cancelled()) return fail(ErrorKind::cancelled, "the send was cancelled");
    auto planned = UNDERSTUDY_VALUE(take_planned());
    if (!planned) return std::nullopt;
    auto chunk = make(*planned, workspace);
    if (!chunk) return error_of(chunk);
    account(*chunk);
    return *chunk;
}

Result<Chunk> Sender::make(const Planned& planned, Workspace& workspace) {
    const auto& extent = planned.extent;
    Chunk chunk{.sequence = planned.sequence,
                .disk = planned.disk,
                .offset = extent.offset,
                .length = extent.length,
                .kind = extent.kind,
                .payload = {}};
    if (extent.kind == ExtentKind::zero) return chunk;
    const auto content = workspace.content().first(static_cast<std::size_t>(extent.length.count()));
    if (auto read = disks_[planned.disk].reader->read(extent.offset, content); !read)
        return fail(std::move(read.error())
                        .during(fmt::format("read {} bytes of disk {} at {}", content.size(),
                                            planned.disk, extent.offset.count())));
    if (all_zero(content)) {
        chunk.kind = ExtentKind::zero;
        return chunk;
    }
    chunk.digest = digest_of(content);
    chunk.payload = content;
    pack(chunk, workspace);
    return chunk;
}

void Sender::pack(Chunk& chunk, Workspace& workspace) {
    auto codec = Codec::none;
    {
        const std::lock_guard lock(mutex_);
        codec = chooser_.choose();
    }
    if (codec == Codec::none) return;
    const auto packed = workspace.compress(codec, chunk.payload);
    if (packed) {
        chunk.codec = codec;
        chunk.payload = *packed;
    }
    const std::lock_guard lock(mutex_);
    chooser_.record(packed.has_value());
}

void Sender::account(const Chunk& chunk) {
    const std::lock_guard lock(mutex_);
    auto& slot = slots_[static_cast<std::size_t>(chunk.sequence - acknowledged_.chunks)];
    add_chunk(slot.totals, chunk);
    slot.data = chunk.kind == ExtentKind::data ? chunk.length : ByteSize(0);
    slot.done = true;
    data_ += slot.data;
    unacknowledged_data_ += slot.data;
    for (; prefix_ < slots_.size() && slots_[prefix_].done; ++prefix_) {
        auto& own = slots_[prefix_].totals;
        sent_.chunks += own.chunks;
        sent_.bytes += own.bytes;
        sent_.digest_high += own.digest_high;
        sent_.digest_low += own.digest_low;
        own = sent_;
    }
}

bool Sender::window_full() const {
    const std::lock_guard lock(mutex_);
    return slots_.size() >= kWindow;
}

bool Sender::wants_flush() const {
    const std::lock_guard lock(mutex_);
    const auto since = std::max<std::uint64_t>(flush_asked_at_, acknowledged_.chunks);
    if (sent_.chunks >= since + kFlushChunks) return true;
    return unacknowledged_data_ >= kFlushBytes && data_ >= flush_asked_at_data_ + kFlushBytes;
}

void Sender::flush_requested() {
    const std::lock_guard lock(mutex_);
    flush_asked_at_ = sent_.chunks;
    flush_asked_at_data_ = data_;
}

Result<> Sender::on_ack(const model::Ack& ack) {
    const std::lock_guard lock(mutex_);
    const auto count = ack.totals.chunks;
    if (count < acknowledged_.chunks) return {};
    const auto wrong = [&](std::string_view what) {
        return fail(Error(ErrorKind::corrupt, fmt::format("the target acknowledged {}", what))
                        .advising("Send again; if it comes back, check memory and disks of both "
                                  "sides."));
    };
    if (count > sent_.chunks)
        return wrong(fmt::format("{} chunks, {} were sent", count, sent_.chunks));
    const auto position = static_cast<std::size_t>(count - acknowledged_.chunks);
    const auto& ours = position == 0 ? acknowledged_ : slots_[position - 1].totals;
    if (ours != ack.totals)
        return wrong(fmt::format("other content than the {} chunks that were sent", count));
    const auto totals = ours;
    for (std::size_t i = 0; i < position; ++i) {
        unacknowledged_data_ -= slots_.front().data;
        slots_.pop_front();
    }
    prefix_ -= position;
    acknowledged_ = totals;
    durable_ = std::max(durable_, ack.durable);
    return {};
}

// With the lock held.
bool Sender::all_made() const {
    return disk_ >= disks_.size() && planned_.empty() && prefix_ == slots_.size();
}

bool Sender::ended() const {
    const std::lock_guard lock(mutex_);
    return all_made();
}

bool Sender::complete() const {
    const std::lock_guard lock(mutex_);
    return all_made() && slots_.empty();
}

bool Sender::much_left() const {
    const std::lock_guard lock(mutex_);
    if (planned_data_ > kWorthAChannel) return true;
    return data_ > kWorthAChannel && planned_.size() >= kAheadChunks / 2;
}

std::uint64_t Sender::acknowledged() const {
    const std::lock_guard lock(mutex_);
    return acknowledged_.chunks;
}

model::Totals Sender::totals() const {
    const std::lock_guard lock(mutex_);
    return sent_;
}

model::DurablePoint Sender::durable() const {
    const std::lock_guard lock(mutex_);
    return durable_;
}

std::uint64_t Sender::rate_limit() const {
    return options_.rate_limit ? options_.rate_limit() : 0;
}

void Sender::observe_link(const ports::LinkStats& sum) {
    const auto limit = rate_limit();
    const std::lock_guard lock(mutex_);
    chooser_.set_rate_limit(limit);
    chooser_.observe(sum);
}

std::optional<model::Codec> Sender::learnt_codec() const {
    const std::lock_guard lock(mutex_);
    return chooser_.learnt();
}

void Sender::count_wire(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    wire_ += bytes;
}

model::Progress Sender::progress() const {
    const std::lock_guard lock(mutex_);
    model::Progress progress;
    progress.done_bytes = data_.count();
    progress.total_bytes = options_.total_bytes;
    progress.wire_bytes = wire_;
    return progress;
}

}  // namespace understudy::mover
