#include "mover/copy_disk.hpp"

#include "model/transfer.hpp"
#include "mover/chunker.hpp"
#include "mover/content_digest.hpp"
#include "mover/digest.hpp"

#include <algorithm>
#include <deque>
#include <vector>

// Copies one disk within this host, for exports and imports. The chunker cuts the extents, eight
// chunks are asked for ahead, each is read, and its grains are written as data or as zeroes, or
// left out if they lie behind the target's end. The digest is of all data that was read and, if the
// source is not whole, of all zeroes. One thread; memory of two chunks. Nothing is flushed or kept
// here: after a crash the task begins the copy again.

namespace understudy::mover {
namespace {

constexpr std::uint64_t kGrain = model::kGrain.count();
constexpr std::size_t kLookAhead = 8;  // chunks that are asked for before they are read

class Copy {
public:
    Copy(CopySource source, const CopyTarget& target,
         const std::function<Result<>(ByteSize)>& go_on)
        : source_(std::move(source)),
          target_(target),
          go_on_(go_on),
          chunks_(std::move(source_.extents), source_.size, ByteOffset(0),
                  {.merge_gaps = false, .drop_zeroes = source_.whole}),
          buffer_(model::kMaxChunk.count()) {}

    Result<Copied> run() {
        while (true) {
            UNDERSTUDY_TRY(look_ahead());
            if (ahead_.empty()) break;
            const auto chunk = ahead_.front();
            ahead_.pop_front();
            UNDERSTUDY_TRY(chunk.kind == model::ExtentKind::data ? copy_data(chunk) : zero(chunk));
        }
        return Copied{data_, digest_.text()};
    }

private:
    Result<> look_ahead() {
        while (!ended_ && ahead_.size() < kLookAhead) {
            auto chunk = UNDERSTUDY_VALUE(chunks_.next());
            ended_ = !chunk;
            if (ended_) break;
            ahead_.push_back(*chunk);
            if (source_.prefetch && chunk->kind == model::ExtentKind::data)
                source_.prefetch(chunk->offset, chunk->length);
        }
        return {};
    }

    Result<> copy_data(const model::Extent& chunk) {
        const auto content = std::span(buffer_).first(chunk.length.count());
        UNDERSTUDY_TRY(source_.read(chunk.offset, content));
        std::size_t begin = 0;
        ByteSize copied;
        while (begin < content.size()) {
            const bool zeroes = is_zero_at(content, begin);
            auto end = begin;
            while (end < content.size() && is_zero_at(content, end) == zeroes)
                end = std::min<std::size_t>(end + kGrain, content.size());
            const model::Extent run{chunk.offset + ByteSize(begin), ByteSize(end - begin),
                                    zeroes ? model::ExtentKind::zero : model::ExtentKind::data};
            if (zeroes) {
                UNDERSTUDY_TRY(zero(run));
            } else {
                digest_.data(run.offset, content.subspan(begin, end - begin));
                UNDERSTUDY_TRY(write(run.offset, content.subspan(begin, end - begin)));
                copied += run.length;
            }
            begin = end;
        }
        data_ += copied;
        return go_on_(copied);
    }

    static bool is_zero_at(std::span<const std::byte> content, std::size_t at) {
        return all_zero(content.subspan(at, std::min<std::size_t>(kGrain, content.size() - at)));
    }

    Result<> zero(const model::Extent& run) {
        if (!source_.whole) digest_.zero(run.offset, run.length);
        const auto limit = target_.size.count();
        const auto begin = run.offset.count();
        if (begin >= limit) return {};
        // At the source's end a grain is filled up to its own end.
        const auto end = std::min(round_up(run.end().count()), limit);
        return target_.disk.zero(run.offset, ByteSize(end - begin));
    }

    Result<> write(ByteOffset offset, std::span<std::byte> content) {
        const auto limit = target_.size.count();
        const auto begin = offset.count();
        if (begin >= limit) return {};
        auto end = std::min(begin + content.size(), limit);
        const auto padded = std::min(round_up(end), limit);
        if (padded == end) return target_.disk.write(offset, content.first(end - begin));
        std::vector<std::byte> whole(content.begin(), content.begin() + (end - begin));
        whole.resize(padded - begin);
        return target_.disk.write(offset, whole);
    }

    static std::uint64_t round_up(std::uint64_t at) { return (at + kGrain - 1) / kGrain * kGrain; }

    CopySource source_;
    const CopyTarget target_;
    const std::function<Result<>(ByteSize)>& go_on_;
    Chunker chunks_;
    std::deque<model::Extent> ahead_;
    bool ended_ = false;
    std::vector<std::byte> buffer_;
    ContentDigest digest_;
    ByteSize data_;
};

}  // namespace

Result<Copied> copy_disk(CopySource source, const CopyTarget& target,
                         const std::function<Result<>(ByteSize)>& go_on) {
    return Copy(std::move(source), target, go_on).run();
}

}  // namespace understudy::mover
