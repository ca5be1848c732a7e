#include "storage/rbd/image_changes.hpp"
#include "storage/rbd/image_reader.hpp"
#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <utility>

// Reads frozen snapshots: their content, what differs between two of them, and how much each owns.
// A reader or a listing pins its snapshot and the images under it for as long as it lives, so that
// no sweep removes them. Counting takes long, so stat() and head_own() count without the volume's
// lock; this object remembers what stat() counted. Nothing is written.

namespace understudy::rbd {
namespace {

// Keeps what a reader depends on from being removed for as long as it lives.
class Pinned {
public:
    Pinned(std::shared_ptr<Volume> volume, std::vector<Volume::Pin> pins)
        : volume_(std::move(volume)), pin_(volume_->pin(std::move(pins))) {}
    ~Pinned() { volume_->unpin(pin_); }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;

private:
    std::shared_ptr<Volume> volume_;
    Volume::Pins::iterator pin_;
};

class PinnedReader : public ports::Reader {
public:
    PinnedReader(std::unique_ptr<Pinned> pinned, std::unique_ptr<ports::Reader> reader)
        : pinned_(std::move(pinned)), reader_(std::move(reader)) {}

    ByteSize size() const override { return reader_->size(); }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        return reader_->read(offset, into);
    }
    void prefetch(ByteOffset offset, ByteSize length) override {
        reader_->prefetch(offset, length);
    }

private:
    std::unique_ptr<Pinned> pinned_;
    std::unique_ptr<ports::Reader> reader_;
};

class PinnedStream : public ports::ExtentStream {
public:
    PinnedStream(std::unique_ptr<Pinned> pinned, std::unique_ptr<ports::ExtentStream> extents)
        : pinned_(std::move(pinned)), extents_(std::move(extents)) {}

    Result<std::optional<ports::Extent>> next() override { return extents_->next(); }

private:
    std::unique_ptr<Pinned> pinned_;
    std::unique_ptr<ports::ExtentStream> extents_;
};

class NoExtents : public ports::ExtentStream {
public:
    Result<std::optional<ports::Extent>> next() override { return std::nullopt; }
};

}  // namespace

Volume::Pins::iterator Volume::pin(std::vector<Pin> pins) {
    const std::lock_guard lock(pins_mutex_);
    return pins_.insert(pins_.end(), std::move(pins));
}

void Volume::unpin(Pins::iterator pin) {
    const std::lock_guard lock(pins_mutex_);
    pins_.erase(pin);
}

// The snapshot, and the images that show through where its own image has nothing.
std::vector<Volume::Pin> Volume::pins_for(const VolumeRecord& record,
                                          const VolumeSnapshot& snapshot) const {
    std::vector<Pin> pins{{snapshot.image, snapshot.id}};
    for (const auto* image = record.image(snapshot.image); image;
         image = image->parent.empty() ? nullptr : record.image(image->parent))
        pins.emplace_back(image->name, SnapshotId());
    return pins;
}

Result<std::unique_ptr<ports::Reader>> Volume::open_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    const auto* snapshot = stored.record.listed(id);
    if (!snapshot) return no_snapshot(id);
    auto reader = UNDERSTUDY_VALUE(ImageReader::open(images_, snapshot->image, id));
    auto pinned = std::make_unique<Pinned>(shared_from_this(), pins_for(stored.record, *snapshot));
    return std::make_unique<PinnedReader>(std::move(pinned), std::move(reader));
}

Result<std::unique_ptr<ports::ExtentStream>> Volume::changes(std::optional<SnapshotId> base,
                                                             const SnapshotId& until,
                                                             ByteOffset from) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    const auto& record = stored.record;
    const auto* snapshot = record.listed(until);
    if (!snapshot) return no_snapshot(until);
    if (base && !record.is_ancestor(*base, until))
        return fail(ErrorKind::conflict, fmt::format("snapshot {} is not an ancestor of {} here",
                                                     base->text(), until.text()));
    if (base == until) return std::make_unique<NoExtents>();
    auto pins = pins_for(record, *snapshot);
    std::optional<SnapshotPlace> base_place;
    if (base) {
        base_place = SnapshotPlace{record.listed(*base)->image, base};
        for (auto& pin : pins_for(record, *record.listed(*base))) pins.push_back(std::move(pin));
    }
    auto extents =
        UNDERSTUDY_VALUE(image_changes(images_, base_place, {snapshot->image, until}, from));
    auto pinned = std::make_unique<Pinned>(shared_from_this(), std::move(pins));
    return std::make_unique<PinnedStream>(std::move(pinned), std::move(extents));
}

Result<std::optional<ByteSize>> Volume::head_own(const SnapshotId& on) {
    std::string head;
    std::optional<SnapshotPlace> base;
    std::unique_ptr<Pinned> pinned;
    {
        const std::lock_guard lock(mutex_);
        auto stored = UNDERSTUDY_VALUE(loaded());
        const auto* image = stored.record.find(ImageRole::head);
        if (!image) return ByteSize(0);
        head = image->name;
        const auto* frozen = stored.record.listed(on);
        if (!frozen) return no_snapshot(on);
        base = SnapshotPlace{frozen->image, on};
        pinned = std::make_unique<Pinned>(shared_from_this(), pins_for(stored.record, *frozen));
    }
    return changed_bytes(images_, base, {head, std::nullopt});  // takes a while: not under the lock
}

Result<ports::SnapshotStat> Volume::stat(const SnapshotId& id) {
    std::optional<SnapshotPlace> base;
    SnapshotPlace place;
    ports::SnapshotStat found;
    SnapshotId parent;
    std::unique_ptr<Pinned> pinned;
    {
        const std::lock_guard lock(mutex_);
        auto stored = UNDERSTUDY_VALUE(loaded());
        const auto* snapshot = stored.record.listed(id);
        if (!snapshot) return no_snapshot(id);
        found.size = snapshot->size;
        parent = snapshot->parent;
        if (const auto known = own_.find({id, parent}); known != own_.end()) {
            found.own = known->second;
            return found;
        }
        place = {snapshot->image, id};
        auto pins = pins_for(stored.record, *snapshot);
        if (const auto* below = stored.record.listed(parent)) {
            base = SnapshotPlace{below->image, parent};
            for (auto& pin : pins_for(stored.record, *below)) pins.push_back(std::move(pin));
        }
        pinned = std::make_unique<Pinned>(shared_from_this(), std::move(pins));
    }
    auto own = UNDERSTUDY_VALUE(changed_bytes(images_, base, place));
    found.own = own.value_or(ByteSize(0));
    const std::lock_guard lock(mutex_);
    own_[{id, parent}] = found.own;
    return found;
}

}  // namespace understudy::rbd
