#include "mover/layer_stack.hpp"

#include <algorithm>

// Several layers of one disk, read as one. Finder goes through all layers at once, from the start
// of the disk to its end, and cuts it into runs that one layer decides, or none. extents() lists
// the runs that are known. read() keeps a Finder of its own, goes on from the last run and starts
// again for an earlier place; a place that no layer knows is read from the base. One thread.
// Nothing is written or kept.

namespace understudy::mover {

// Cuts the whole disk into runs. One layer decides each run, or none does. One pass.
class LayerStack::Finder {
public:
    enum class Content { unknown, zero, data };
    struct Run {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        Content content = Content::unknown;
        std::size_t layer = 0;
    };

    static Result<std::unique_ptr<Finder>> open(
        const std::vector<std::unique_ptr<ports::DiskLayer>>& layers) {
        auto finder = std::make_unique<Finder>();
        for (const auto& layer : layers) {
            auto extents = UNDERSTUDY_VALUE(layer->extents());
            finder->sources_.push_back({.extents = std::move(extents),
                                        .current = std::nullopt,
                                        .size = layer->size().count(),
                                        .ended = false});
        }
        finder->end_ = layers.back()->size().count();
        return finder;
    }

    // Nothing: at the end of the disk.
    Result<std::optional<Run>> next() {
        if (at_ >= end_) return std::nullopt;
        Run run{at_, end_, Content::unknown, 0};
        for (auto layer = sources_.size(); layer-- > 0;) {
            auto& source = sources_[layer];
            if (at_ >= source.size) {
                run.content = Content::zero;
                break;
            }
            run.end = std::min(run.end, source.size);
            UNDERSTUDY_TRY(advance(source));
            if (!source.current) continue;
            const auto begin = source.current->offset.count();
            if (begin > at_) {
                run.end = std::min(run.end, begin);
                continue;
            }
            run.end = std::min(run.end, source.current->end().count());
            run.content =
                source.current->kind == model::ExtentKind::data ? Content::data : Content::zero;
            run.layer = layer;
            break;
        }
        at_ = run.end;
        return run;
    }

    std::optional<Run> current;  // the run that LayerStack::read() is in

private:
    struct Source {
        std::unique_ptr<ports::ExtentStream> extents;
        std::optional<ports::Extent> current;  // ends behind at_
        std::uint64_t size;
        bool ended;
    };

    Result<> advance(Source& source) const {
        while (!source.ended && (!source.current || source.current->end().count() <= at_)) {
            auto next = UNDERSTUDY_VALUE(source.extents->next());
            source.current = next;
            source.ended = !source.current;
        }
        return {};
    }

    std::vector<Source> sources_;
    std::uint64_t at_ = 0;
    std::uint64_t end_ = 0;
};

LayerStack::LayerStack(std::vector<std::unique_ptr<ports::DiskLayer>> layers,
                       std::unique_ptr<ports::Reader> base)
    : layers_(std::move(layers)), base_(std::move(base)) {}

LayerStack::~LayerStack() = default;

Result<std::unique_ptr<ports::ExtentStream>> LayerStack::extents() {
    class Known final : public ports::ExtentStream {
    public:
        explicit Known(std::unique_ptr<Finder> finder) : finder_(std::move(finder)) {}
        Result<std::optional<ports::Extent>> next() override {
            while (true) {
                auto run = UNDERSTUDY_VALUE(finder_->next());
                if (!run) return std::nullopt;
                if (run->content == Finder::Content::unknown) continue;
                return ports::Extent{ByteOffset(run->begin), ByteSize(run->end - run->begin),
                                     run->content == Finder::Content::data
                                         ? model::ExtentKind::data
                                         : model::ExtentKind::zero};
            }
        }

    private:
        std::unique_ptr<Finder> finder_;
    };
    auto finder = UNDERSTUDY_VALUE(Finder::open(layers_));
    return std::make_unique<Known>(std::move(finder));
}

Result<> LayerStack::read_base(ByteOffset offset, std::span<std::byte> into) {
    const auto size = base_ ? base_->size().count() : 0;
    const auto there = offset.count() >= size
                           ? std::size_t{0}
                           : std::min<std::uint64_t>(into.size(), size - offset.count());
    std::ranges::fill(into.subspan(there), std::byte{0});
    return there > 0 ? base_->read(offset, into.first(there)) : Result<>{};
}

Result<> LayerStack::read(ByteOffset offset, std::span<std::byte> into) {
    auto at = offset.count();
    if (reading_ && reading_->current && at < reading_->current->begin) reading_.reset();
    if (!reading_) {
        auto finder = UNDERSTUDY_VALUE(Finder::open(layers_));
        reading_ = std::move(finder);
    }
    while (!into.empty()) {
        while (!reading_->current || reading_->current->end <= at) {
            auto run = UNDERSTUDY_VALUE(reading_->next());
            if (!run) return fail(ErrorKind::invalid, "a read behind the disk's end");
            reading_->current = run;
        }
        const auto& run = *reading_->current;
        const auto part = into.first(std::min<std::uint64_t>(into.size(), run.end - at));
        switch (run.content) {
            case Finder::Content::data:
                UNDERSTUDY_TRY(layers_[run.layer]->read(ByteOffset(at), part));
                break;
            case Finder::Content::zero: std::ranges::fill(part, std::byte{0}); break;
            case Finder::Content::unknown: UNDERSTUDY_TRY(read_base(ByteOffset(at), part)); break;
        }
        at += part.size();
        into = into.subspan(part.size());
    }
    return {};
}

}  // namespace understudy::mover
