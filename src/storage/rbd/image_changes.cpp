#include "storage/rbd/image_changes.hpp"

#include "storage/rbd/image_grains.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

// What differs between two snapshots, or what is allocated in one. Candidates come from fast-diff
// if both are of one image and its maps are valid, else every object is looked at. Each object is
// judged by its versions in RADOS; where those do not tell (parents, other images), both sides are
// read and compared. Memory: batches of 256 objects; windows of 16384 are asked of fast-diff. Up to
// 8 threads wait for objects, and all have ended when a call returns. Only reads; nothing is kept.

namespace understudy::rbd {
namespace {

constexpr std::uint64_t kWindowObjects = 16384;  // asked of fast-diff at once
constexpr std::size_t kBatchObjects = 256;       // looked at before the first of them is listed
constexpr std::size_t kThreads = 8;              // each waits for one object at a time
constexpr std::uint64_t kMaxCounted = 16384;     // objects, if each must be asked for
constexpr std::size_t kReadBytes = 1 << 20;      // of each side, while comparing

// Calls work(0) to work(count - 1), in any order, until one of them fails.
template <class Work>
Result<> for_each(std::size_t count, Work work) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    Result<> result;
    const auto run = [&] {
        for (auto i = next++; i < count && !failed; i = next++) {
            auto done = work(i);
            if (done) continue;
            failed = true;
            const std::lock_guard lock(mutex);
            result = std::move(done);
        }
    };
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 1; i < std::min(kThreads, (count + 7) / 8); ++i)
            threads.emplace_back(run);
        run();
    }
    return result;
}

// Looks at one object-sized piece of the disk at a time. Thread-safe.
class Inspection {
public:
    static Result<std::unique_ptr<Inspection>> open(const Images& images,
                                                    const std::optional<SnapshotPlace>& base,
                                                    const SnapshotPlace& until) {
        auto top = UNDERSTUDY_VALUE(FrozenImage::open(images, until.image, until.snapshot));
        std::unique_ptr<Inspection> made(new Inspection());
        if (base) {
            auto opened = UNDERSTUDY_VALUE(FrozenImage::open(images, base->image, base->snapshot));
            made->base_ = std::move(opened);
        }
        made->levels_.push_back(std::move(top));
        // Down to the base's image or, if that does not come, to the last parent that shows.
        while (!(base && made->levels_.back()->id() == made->base_->id())) {
            auto parent = UNDERSTUDY_VALUE(made->levels_.back()->open_parent(images));
            if (!parent) break;
            made->levels_.push_back(std::move(parent));
        }
        const auto& last = made->levels_.back();
        made->comparable_ = base && last->id() == made->base_->id() &&
                            std::ranges::all_of(made->levels_, [&](const auto& level) {
                                return level->object_size() == last->object_size();
                            });
        return made;
    }

    const FrozenImage& top() const { return *levels_.front(); }
    // Both are snapshots of one image, or there is no base and no parent shows. Then fast-diff can
    // be asked.
    bool within_one_image() const { return levels_.size() == 1 && (comparable_ || !base_); }
    const FrozenImage* base() const { return base_.get(); }

    Result<Grains> inspect(std::uint64_t object) const {
        const auto begin = object * top().object_size();
        Grains grains(begin, std::min(top().size(), begin + top().object_size()));
        if (!base_) {
            UNDERSTUDY_TRY(mark_allocated(0, begin, grains.end(), grains));
            return grains;
        }
        auto told = UNDERSTUDY_VALUE(comparable_ ? by_history(object, grains) : is_nothing(object));
        if (!told) UNDERSTUDY_TRY(by_content(grains));
        return grains;
    }

private:
    Inspection() = default;

    // For two images that are not related, or no longer: whether neither holds anything here.
    Result<bool> is_nothing(std::uint64_t object) const {
        for (const auto* image : {&top(), base()}) {
            if (image->overlap() > 0 || image->object_size() != top().object_size()) return false;
            auto history = UNDERSTUDY_VALUE(image->history(object));
            if (history.at(image->snapshot()).exists) return false;
        }
        return true;
    }

    // Marks the parts of [begin, end) that take room in this level or, where that has no object, in
    // those below.
    Result<> mark_allocated(std::size_t level, std::uint64_t begin, std::uint64_t end,
                            Grains& grains) const {
        const auto& image = *levels_[level];
        end = std::min(end, image.size());
        while (begin < end) {
            const auto object = begin / image.object_size();
            const auto start = object * image.object_size();
            const auto stop = std::min(end, start + image.object_size());
            auto history = UNDERSTUDY_VALUE(image.history(object));
            if (history.at(image.snapshot()).exists) {
                auto extents = UNDERSTUDY_VALUE(image.allocated(object));
                for (const auto& [offset, length] : extents)
                    grains.mark(std::max(begin, start + offset),
                                std::min(stop, start + offset + length), Grain::data);
            } else if (level + 1 < levels_.size()) {
                UNDERSTUDY_TRY(
                    mark_allocated(level + 1, begin, std::min(stop, image.overlap()), grains));
            }
            begin = stop;
        }
        return {};
    }

    // Whether the object's versions are enough to tell what differs. If so, the grains are marked.
    Result<bool> by_history(std::uint64_t object, Grains& grains) const {
        const auto start = grains.begin();
        const auto end = start + top().object_size();
        for (std::size_t level = 0; level + 1 < levels_.size(); ++level) {
            if (levels_[level]->overlap() < std::min(end, levels_.back()->size())) return false;
            auto history = UNDERSTUDY_VALUE(levels_[level]->history(object));
            if (history.at(levels_[level]->snapshot()).exists) return false;
        }
        const auto& last = *levels_.back();
        auto history = UNDERSTUDY_VALUE(last.history(object));
        const auto now = history.at(last.snapshot());
        const auto before = history.at(base_->snapshot());
        const bool same_size = std::min(end, last.size()) == std::min(end, base_->size());
        if (now.exists == before.exists && same_size) {
            const bool same_parent =
                now.exists || std::min(end, last.overlap()) == std::min(end, base_->overlap());
            if (same_parent && (!now.exists || now.version == before.version)) return true;
        }
        const bool parent_shows =
            (!now.exists && last.overlap() > start) || (!before.exists && base_->overlap() > start);
        if (parent_shows || levels_.size() > 1) return false;
        mark_changed(history, before, now, grains);
        return told_apart(object, now, grains);
    }

    // In an object that hides any parent, marks as zero the grains that changed or may have.
    void mark_changed(const ObjectHistory& history, const ObjectState& before,
                      const ObjectState& now, Grains& grains) const {
        const auto start = grains.begin();
        if (!before.exists || !now.exists) {
            grains.mark(start, start + std::max(before.size, now.size), Grain::zero);
            return;
        }
        // Cannot be, since an ancestor is not newer. If it is: all of the object.
        if (now.version < before.version) {
            grains.mark(start, grains.end(), Grain::zero);
            return;
        }
        auto at = start;
        if (now.version > before.version)
            for (const auto& [offset, length] : history.unchanged(before.version, now.version)) {
                grains.mark(at, start + offset, Grain::zero);
                at = start + offset + length;
            }
        else
            at = start + std::min(before.size, now.size);
        grains.mark(at, start + std::max(before.size, now.size), Grain::zero);
    }

    // The marked grains that take room now become data. The other marked grains stay as they are,
    // and unmarked grains stay unmarked.
    Result<bool> told_apart(std::uint64_t object, const ObjectState& now, Grains& grains) const {
        if (!now.exists) return true;
        auto extents = UNDERSTUDY_VALUE(top().allocated(object));
        Grains changed = grains;
        for (const auto& [offset, length] : extents)
            grains.mark(grains.begin() + offset, grains.begin() + offset + length, Grain::data);
        grains.keep(changed);
        return true;
    }

    Result<> by_content(Grains& grains) const {
        std::vector<std::byte> now(
            std::min<std::size_t>(kReadBytes, grains.end() - grains.begin()));
        std::vector<std::byte> before(now.size());
        for (auto at = grains.begin(); at < grains.end(); at += now.size()) {
            const auto length = std::min<std::uint64_t>(now.size(), grains.end() - at);
            UNDERSTUDY_TRY(top().read(at, std::span(now).first(length)));
            const auto there =
                at < base_->size() ? std::min<std::uint64_t>(length, base_->size() - at) : 0;
            if (there > 0) UNDERSTUDY_TRY(base_->read(at, std::span(before).first(there)));
            std::fill(before.begin() + static_cast<std::ptrdiff_t>(there), before.end(),
                      std::byte{0});
            grains.compare(at, std::span(before).first(length), std::span(now).first(length));
        }
        return {};
    }

    // The first is `until`, then what shows under it.
    std::vector<std::unique_ptr<FrozenImage>> levels_;
    std::unique_ptr<FrozenImage> base_;
    bool comparable_ = false;  // the last level is the base's image, and objects match throughout
};

class ChangesStream : public ports::ExtentStream {
public:
    ChangesStream(std::unique_ptr<Inspection> inspection, bool fast_diff, std::uint64_t from)
        : inspection_(std::move(inspection)),
          fast_diff_(fast_diff),
          from_(from),
          next_object_(from / inspection_->top().object_size()) {}

    Result<std::optional<ports::Extent>> next() override {
        while (told_ == extents_.size()) {
            extents_.clear();
            told_ = 0;
            auto more = UNDERSTUDY_VALUE(fill());
            if (!more) return std::nullopt;
        }
        return extents_[told_++];
    }

private:
    // The extents of the next batch of objects, perhaps none; false at the end of the disk.
    Result<bool> fill() {
        UNDERSTUDY_TRY(find_objects());
        if (objects_.empty()) return false;
        const auto count = std::min(kBatchObjects, objects_.size());
        std::vector<Grains> told(count, Grains(0, 0));
        const auto inspect = [&](std::size_t i) -> Result<> {
            told[i] = UNDERSTUDY_VALUE(inspection_->inspect(objects_[i]));
            return {};
        };
        UNDERSTUDY_TRY(for_each(count, inspect));
        for (const auto& grains : told) grains.append_to(extents_, from_);
        objects_.erase(objects_.begin(), objects_.begin() + static_cast<std::ptrdiff_t>(count));
        return true;
    }

    Result<> find_objects() {
        const auto& top = inspection_->top();
        while (objects_.empty() && next_object_ < top.object_count()) {
            const auto window = fast_diff_ ? kWindowObjects : kBatchObjects;
            const auto end = std::min(top.object_count(), next_object_ + window);
            if (fast_diff_) {
                auto found =
                    UNDERSTUDY_VALUE(top.candidates(inspection_->base(), next_object_, end));
                objects_.assign(found.begin(), found.end());
            } else {
                for (auto object = next_object_; object < end; ++object) objects_.push_back(object);
            }
            next_object_ = end;
        }
        return {};
    }

    const std::unique_ptr<Inspection> inspection_;
    const bool fast_diff_;
    const std::uint64_t from_;
    std::uint64_t next_object_;  // the first one that was not looked for yet
    std::deque<std::uint64_t> objects_;
    std::vector<ports::Extent> extents_;
    std::size_t told_ = 0;  // how many of extents_ were returned
};

struct Listing {
    std::unique_ptr<Inspection> inspection;
    bool fast_diff = false;
};

Result<Listing> open_listing(const Images& images, const std::optional<SnapshotPlace>& base,
                             const SnapshotPlace& until) {
    auto inspection = UNDERSTUDY_VALUE(Inspection::open(images, base, until));
    Listing listing{.inspection = std::move(inspection)};
    if (!listing.inspection->within_one_image()) return listing;
    auto valid =
        UNDERSTUDY_VALUE(listing.inspection->top().has_fast_diff(listing.inspection->base()));
    listing.fast_diff = valid;
    return listing;
}

}  // namespace

Result<std::unique_ptr<ports::ExtentStream>> image_changes(const Images& images,
                                                           const std::optional<SnapshotPlace>& base,
                                                           const SnapshotPlace& until,
                                                           ByteOffset from) {
    auto listing = UNDERSTUDY_VALUE(open_listing(images, base, until));
    return std::make_unique<ChangesStream>(std::move(listing.inspection), listing.fast_diff,
                                           from.count());
}

Result<std::optional<ByteSize>> changed_bytes(const Images& images,
                                              const std::optional<SnapshotPlace>& base,
                                              const SnapshotPlace& until) {
    auto listing = UNDERSTUDY_VALUE(open_listing(images, base, until));
    if (!listing.fast_diff && listing.inspection->top().object_count() > kMaxCounted)
        return std::nullopt;
    ChangesStream extents(std::move(listing.inspection), listing.fast_diff, 0);
    ByteSize bytes;
    for (;;) {
        auto extent = UNDERSTUDY_VALUE(extents.next());
        if (!extent) return bytes;
        if (extent->kind == model::ExtentKind::data) bytes += extent->length;
    }
}

namespace {

// Whether there is an object that differs from the older snapshot or, without one, exists at all.
Result<bool> any_object(const FrozenImage& head, const FrozenImage* older) {
    auto fast_diff = UNDERSTUDY_VALUE(head.has_fast_diff(older));
    if (fast_diff) {
        auto objects = UNDERSTUDY_VALUE(head.candidates(older, 0, head.object_count()));
        return !objects.empty();
    }
    std::atomic<bool> found{false};
    const auto look_at = [&](std::size_t object) -> Result<> {
        if (found) return {};
        auto history = UNDERSTUDY_VALUE(head.history(object));
        const auto now = history.at(head.snapshot());
        const auto before = older ? history.at(older->snapshot()) : ObjectState{};
        if (now.exists != before.exists || (now.exists && now.version != before.version))
            found = true;
        return {};
    };
    UNDERSTUDY_TRY(for_each(head.object_count(), look_at));
    return found.load();
}

}  // namespace

Result<bool> has_own_data(const Images& images, const std::string& image) {
    auto head = UNDERSTUDY_VALUE(FrozenImage::open(images, image, {}));
    return any_object(*head, nullptr);
}

Result<bool> has_changed(const Images& images, const std::string& image, const SnapshotId& since) {
    auto head = UNDERSTUDY_VALUE(FrozenImage::open(images, image, {}));
    auto before = UNDERSTUDY_VALUE(FrozenImage::open(images, image, since));
    if (head->size() != before->size()) return true;
    return any_object(*head, before.get());
}

}  // namespace understudy::rbd
