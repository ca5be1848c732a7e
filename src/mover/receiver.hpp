#pragma once

#include "model/transfer.hpp"
#include "mover/codec.hpp"
#include "ports/storage.hpp"
#include "protocol/frames.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace understudy::mover {

// One disk that is being received, in the order of the request.
struct TargetDisk {
    std::unique_ptr<ports::Incoming> incoming;
    ByteSize size;
};

struct ReceiverOptions {
    ByteSize checkpoint_bytes = base::MiB(256);
    Duration checkpoint_interval = std::chrono::seconds(2);
    // Records a point durably, in ascending order, before its acknowledgement leaves. May be empty.
    std::function<Result<>(const model::Ack&)> persist;
};

// The target's half of one attempt: frames → verified chunks → disks, and the durable points in
// between. Thread-safe: each channel's thread brings its own Workspace. Decompressing and verifying
// happen side by side, writing one at a time. Nothing is written before its digest was verified.
// Memory: the workspaces, and at most kAhead records of chunks that overtook others.
class Receiver {
public:
    static constexpr std::uint64_t kAhead = 65'536;

    Receiver(std::vector<TargetDisk> disks, model::DurablePoint start, ReceiverOptions options);

    // What a channel's loop calls for each frame from the source. Does what the frame asks, and
    // returns an acknowledgement, if there is one, to send back on this channel. `now` is
    // monotonic. An error ends the channel; send it as an error frame. Not for goodbye frames.
    Result<std::optional<model::Ack>> take_frame(const protocol::FrameHeader& header,
                                                 std::span<const std::byte> payload,
                                                 Workspace& workspace, Duration now);
    // For a channel that waits for frames: acknowledges by time.
    Result<std::optional<model::Ack>> tick(Duration now);

    Result<> accept(const model::Chunk& chunk, Workspace& workspace);
    bool checkpoint_due(Duration now);
    // Flushes what was written, persists the point and returns it.
    Result<model::Ack> checkpoint(Duration now);

    // Checks that every chunk that the source made is here and is the same. conflict: some are
    // missing. corrupt: it is not the same. Then nothing may be published.
    Result<> finish(const model::Totals& source);

    // Ends this attempt: every later call fails with conflict, and nothing is written any more.
    // Gives the disks back, for publishing or for the next attempt.
    std::vector<TargetDisk> release();

    model::Totals totals() const;         // of the chunks without a gap
    model::DurablePoint durable() const;  // as last persisted
    ByteSize received() const;            // payload, in this attempt

private:
    struct Arrived {
        model::Totals totals;
        model::DurablePoint begin;
        model::DurablePoint end;
    };

    Result<> check_place(const model::Chunk& chunk) const;
    Result<> write(const model::Chunk& chunk, std::span<const std::byte> content);
    Result<> record(const model::Chunk& chunk);
    Result<> still_open() const;
    bool due(Duration now);
    Result<model::Ack> flush_and_persist(Duration now);
    Result<std::optional<model::Ack>> checkpoint_if_due(Duration now);
    Result<std::optional<model::Ack>> flush_request(std::uint64_t chunks, Duration now);

    const ReceiverOptions options_;
    const std::vector<ByteSize> sizes_;

    std::mutex checkpoint_mutex_;  // one checkpoint at a time; taken before mutex_
    mutable std::mutex mutex_;     // guards everything below, and the disks
    std::vector<TargetDisk> disks_;
    std::vector<bool> dirty_;
    bool released_ = false;
    std::optional<Error> broken_;
    model::Totals totals_;                    // chunks 0 … totals_.chunks-1 are written
    model::DurablePoint reached_;             // their end
    std::map<std::uint64_t, Arrived> ahead_;  // written, but a chunk before them is missing
    model::Ack last_ack_;
    std::set<std::uint64_t> wanted_;  // counts that the source wants acknowledged
    ByteSize since_checkpoint_;
    std::optional<Duration> last_checkpoint_;
    ByteSize received_;
};

}  // namespace understudy::mover
