#include "model/extent.hpp"
#include "storage/qcow2/image/format.hpp"
#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/image/layer_chain_state.hpp"

#include <algorithm>
#include <deque>
#include <optional>

// Lists what the first `layers` layers of a chain hold. run_at finds, to the byte, what those
// layers together show at a place, Aligner puts these runs on the grid of model::kGrain, merge
// joins neighbours up to 1 GiB. The last run of each layer is remembered. Only reads the files. One
// thread per stream.

namespace understudy::qcow2 {
namespace {

enum class Content { none, zero, data };

struct Run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    Content content = Content::none;
};

// Puts runs on the grid. The runs follow each other without a gap. If only a part of a grain is
// data or zero, the whole grain becomes data, since a smaller piece cannot travel.
class Aligner {
public:
    Aligner(std::uint64_t begin, std::uint64_t disk_end) : at_(begin), disk_end_(disk_end) {}

    template <class Emit>
    void add(const Run& run, Emit emit) {
        while (at_ < run.end) {
            const auto grain_end = std::min(align_down(at_, kGrain) + kGrain, disk_end_);
            if (!mixed_ && at_ % kGrain == 0 && grain_end <= run.end) {
                const auto end = run.end == disk_end_ ? run.end : align_down(run.end, kGrain);
                emit(Run{at_, end, run.content});
                at_ = end;
                continue;
            }
            mixed_ = !mixed_ || *mixed_ == run.content ? run.content : Content::data;
            at_ = std::min(run.end, grain_end);
            if (at_ == grain_end) {
                emit(Run{align_down(at_ - 1, kGrain), at_, *mixed_});
                mixed_.reset();
            }
        }
    }

private:
    static constexpr std::uint64_t kGrain = model::kGrain.count();

    std::uint64_t at_;
    const std::uint64_t disk_end_;
    std::optional<Content> mixed_;  // what the begun grain holds so far
};

class Stream : public ports::ExtentStream {
public:
    Stream(std::shared_ptr<const ChainState> chain, std::size_t layers, std::uint64_t from,
           bool tell_zeroes)
        : chain_(std::move(chain)),
          layers_(layers),
          tell_zeroes_(tell_zeroes),
          at_(from),
          end_(chain_->layers.front().size()),
          aligner_(from, end_),
          seen_(layers) {}

    Result<std::optional<model::Extent>> next() override {
        while (ready_.size() < 2 && at_ < end_) {
            auto run = UNDERSTUDY_VALUE(run_at(at_, end_ - at_));
            at_ = run.end;
            aligner_.add(run, [this](const Run& aligned) { merge(aligned); });
        }
        if (ready_.empty()) return std::nullopt;
        const auto run = ready_.front();
        ready_.pop_front();
        return model::Extent{
            ByteOffset(run.begin), ByteSize(run.end - run.begin),
            run.content == Content::data ? model::ExtentKind::data : model::ExtentKind::zero};
    }

private:
    static constexpr std::uint64_t kMaxExtent = 1ULL << 30;

    // The layer's run at `offset`. Remembers the last one, so that a long run above many short
    // ones is looked up once.
    Result<Mapping> map(std::size_t layer, std::uint64_t offset) {
        auto& seen = seen_[layer];
        if (offset < seen.begin || offset >= seen.begin + seen.run.length) {
            const auto& file = chain_->layers[layer];
            auto run = file.map_holes(offset, file.size() - offset, chain_->cache);
            if (!run) return run;
            seen = {offset, *run};
        }
        auto run = seen.run;
        run.length -= offset - seen.begin;
        return run;
    }

    // The run at `offset` as all counted layers together show it.
    Result<Run> run_at(std::uint64_t offset, std::uint64_t length) {
        auto content = Content::none;
        for (std::size_t layer = 0; layer < layers_; ++layer) {
            if (offset >= chain_->layers[layer].size()) {
                // This layer ends before `offset`, so the disk reads as zeroes here. It counts as a
                // change only up to the end of the base.
                if (base_size() > offset) {
                    content = Content::zero;
                    length = std::min(length, base_size() - offset);
                }
                break;
            }
            auto run = UNDERSTUDY_VALUE(map(layer, offset));
            length = std::min(length, run.length);
            if (run.kind == Mapping::Kind::hole) continue;
            content = run.kind == Mapping::Kind::zero ? Content::zero : Content::data;
            break;
        }
        if (content == Content::zero && !tell_zeroes_) content = Content::none;
        return Run{offset, offset + length, content};
    }

    std::uint64_t base_size() const {
        return layers_ < chain_->layers.size() ? chain_->layers[layers_].size() : 0;
    }

    void merge(Run run) {
        if (run.content == Content::none) return;
        if (!ready_.empty()) {
            auto& last = ready_.back();
            if (last.end == run.begin && last.content == run.content) {
                const auto end = std::min(run.end, last.begin + kMaxExtent);
                last.end = end;
                run.begin = end;
            }
        }
        for (; run.begin < run.end; run.begin += kMaxExtent) {
            ready_.push_back({run.begin, std::min(run.end, run.begin + kMaxExtent), run.content});
        }
    }

    struct Seen {
        std::uint64_t begin = 0;
        Mapping run;
    };

    const std::shared_ptr<const ChainState> chain_;
    const std::size_t layers_;
    const bool tell_zeroes_;
    std::uint64_t at_;
    const std::uint64_t end_;
    Aligner aligner_;
    std::vector<Seen> seen_;
    std::deque<Run> ready_;  // the last one may still grow
};

}  // namespace

std::unique_ptr<ports::ExtentStream> LayerChain::extents(std::size_t layers, ByteOffset from,
                                                         Zeroes zeroes) const {
    layers = std::min(layers, depth());
    const auto begin = from >= ByteOffset(size().count())
                           ? size().count()
                           : align_down(from.count(), model::kGrain.count());
    const bool tell_zeroes = zeroes == Zeroes::listed && (layers < depth() || state_->layers_below);
    return std::make_unique<Stream>(state_, layers, begin, tell_zeroes);
}

}  // namespace understudy::qcow2
