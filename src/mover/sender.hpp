#pragma once

#include "model/task.hpp"
#include "model/transfer.hpp"
#include "mover/chunker.hpp"
#include "mover/codec.hpp"
#include "mover/codec_chooser.hpp"
#include "ports/storage.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace understudy::mover {

// One disk of the snapshot to send, in the order of the request.
struct SourceDisk {
    std::shared_ptr<ports::Reader> reader;
    // The changes at or after a place; called at most once per attempt.
    std::function<Result<std::unique_ptr<ports::ExtentStream>>(ByteOffset from)> changes;
};

struct SenderOptions {
    ChunkerOptions chunking;                        // both true only in a full send without a base
    std::vector<model::Codec> codecs;               // that the target knows; none always works
    model::Codec first_codec = model::Codec::none;  // until the link was measured
    std::uint64_t total_bytes = 0;                  // of data, for progress; 0: unknown
    std::function<std::uint64_t()> rate_limit;      // bytes per second now, 0 or empty: none
    std::function<bool()> cancelled;                // asked before every chunk; may be empty
};

// The source's half of one attempt: extents → chunks → zero check → digest → compression, and the
// account of what was sent against what the target acknowledges. Thread-safe: several channels take
// chunks from one Sender; reading and compressing happen outside its lock. Memory: 64 planned
// chunks and kWindow un-acknowledged records, whatever the disks.
class Sender {
public:
    // Un-acknowledged chunks beyond which no more are sent.
    static constexpr std::size_t kWindow = 16'384;
    // This much may be un-acknowledged before the target is asked to flush. The target also flushes
    // by itself; asking is for many small chunks, and for a target that does not flush by itself.
    static constexpr std::size_t kFlushChunks = 4096;
    static constexpr ByteSize kFlushBytes = base::MiB(512);

    Sender(std::vector<SourceDisk> disks, model::DurablePoint start, SenderOptions options);

    // The next chunk; its payload stays in the workspace until that is used again. Nothing: all are
    // made. After an error the attempt is over.
    Result<std::optional<model::Chunk>> next(Workspace& workspace);

    bool window_full() const;  // wait for an acknowledgement before the next chunk
    bool wants_flush() const;  // request_flush on any channel, then flush_requested()
    void flush_requested();

    // corrupt: the target counted something else than what was sent. A late acknowledgement is
    // ignored.
    Result<> on_ack(const model::Ack& ack);

    bool ended() const;      // every chunk was made
    bool complete() const;   // and every one acknowledged
    bool much_left() const;  // worth another channel
    std::uint64_t acknowledged() const;
    model::Totals totals() const;  // of all chunks made, once ended() and nobody is inside next()
    model::DurablePoint durable() const;  // as last acknowledged

    std::uint64_t rate_limit() const;
    bool cancelled() const { return options_.cancelled && options_.cancelled(); }
    void observe_link(const ports::LinkStats& sum);
    std::optional<model::Codec> learnt_codec() const;  // as CodecChooser::learnt
    void count_wire(std::uint64_t bytes);
    model::Progress progress() const;  // without rate_bytes, which takes a clock

private:
    struct Planned {
        std::uint64_t sequence;
        std::uint32_t disk;
        model::Extent extent;
    };
    struct Slot {
        model::Totals totals;  // its own; once in the prefix, of all chunks up to it
        ByteSize data;
        bool done = false;
    };

    Result<> plan_ahead();
    Result<std::optional<Planned>> take_planned();
    Result<model::Chunk> make(const Planned& planned, Workspace& workspace);
    void pack(model::Chunk& chunk, Workspace& workspace);
    void account(const model::Chunk& chunk);
    bool all_made() const;

    std::vector<SourceDisk> disks_;
    const SenderOptions options_;

    mutable std::mutex mutex_;  // guards everything below
    std::unique_ptr<Chunker> chunker_;
    std::uint32_t disk_;
    ByteOffset from_;
    std::deque<Planned> planned_;
    ByteSize planned_data_;
    std::uint64_t sequence_ = 0;  // of the next chunk to be planned
    std::deque<Slot> slots_;      // from the first un-acknowledged one to the last one taken
    std::size_t prefix_ = 0;      // of slots_, done without a gap
    model::Totals sent_;          // up to the prefix
    model::Totals acknowledged_;
    model::DurablePoint durable_;
    ByteSize unacknowledged_data_;
    ByteSize data_;                   // made, in total
    std::size_t flush_asked_at_ = 0;  // sequence
    ByteSize flush_asked_at_data_;
    std::uint64_t wire_ = 0;
    CodecChooser chooser_;
};

}  // namespace understudy::mover
