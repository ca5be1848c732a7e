#include "storage/rbd/image_writer.hpp"
#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// A snapshot in Ceph cannot be written to. Where the image's head is as its newest snapshot, the
// head is put right and frozen anew, and the two snapshots change their names; the record says so
// before the first of them does, so that whoever reads it next brings it to the end.

namespace understudy::rbd {
namespace {

class Patch : public ports::Incoming {
public:
    Patch(std::shared_ptr<Volume> volume, SnapshotId patch, std::unique_ptr<ImageWriter> writer)
        : volume_(std::move(volume)), patch_(patch), writer_(std::move(writer)) {}
    ~Patch() override { release(); }  // what stays is undone by the next change of the volume
    Patch(const Patch&) = delete;
    Patch& operator=(const Patch&) = delete;

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        UNDERSTUDY_TRY(check_open());
        return writer_->write(offset.count(), data);
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        UNDERSTUDY_TRY(check_open());
        return writer_->zero(offset.count(), length.count());
    }
    Result<> flush() override {
        UNDERSTUDY_TRY(check_open());
        return writer_->flush();
    }
    Result<> publish() override {
        if (published_) return {};
        UNDERSTUDY_TRY(flush());
        UNDERSTUDY_TRY(volume_->publish_patch(patch_, writer_->image()));
        published_ = true;
        release();
        return {};
    }
    Result<> discard() override {
        if (!writer_) return {};
        release();  // an open image is not rolled back
        return volume_->discard_patch(patch_);
    }

private:
    void release() {
        if (!writer_) return;
        writer_.reset();
        volume_->close_incoming(patch_);
    }
    Result<> check_open() const {
        if (writer_) return {};
        return fail(ErrorKind::conflict, "this mend is over");
    }

    const std::shared_ptr<Volume> volume_;
    const SnapshotId patch_;
    std::unique_ptr<ImageWriter> writer_;
    bool published_ = false;
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> Volume::mend(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(open_for_change());
    auto& record = stored.record;
    const auto* snapshot = record.listed(id);
    if (!snapshot) return no_snapshot(id);
    UNDERSTUDY_TRY(check_mendable(record, *snapshot));
    auto* image = record.image(snapshot->image);
    const auto patch = SnapshotId::random();
    image->role = ImageRole::incoming;
    image->snapshot = patch;
    image->size = snapshot->size;
    record.mending = VolumeMending{.snapshot = id, .patch = patch};
    UNDERSTUDY_TRY(save(stored));
    crash_point("mend begun");
    const auto name = record.image(record.listed(id)->image)->name;
    auto opened = UNDERSTUDY_VALUE(images_.open(name));
    receiving_.insert(patch);
    return std::make_unique<Patch>(shared_from_this(), patch,
                                   std::make_unique<ImageWriter>(images_, std::move(opened), name));
}

Result<> Volume::check_mendable(const VolumeRecord& record, const VolumeSnapshot& snapshot) const {
    const auto* image = record.image(snapshot.image);
    const bool writable =
        image->role == ImageRole::idle && !image->adopted && image->base == snapshot.id;
    const bool cloned = std::ranges::any_of(
        record.images, [&](const VolumeImage& other) { return other.parent == image->name; });
    const bool used = std::ranges::any_of(record.images, [](const VolumeImage& other) {
        return other.role == ImageRole::head || other.role == ImageRole::drill ||
               other.role == ImageRole::successor;
    });
    if (used)
        return fail(Error(ErrorKind::refused,
                          "a VM or a rehearsal is on a snapshot of image " + image->name)
                        .advising("Let the rehearsal end first. A VM's own disk is not mended "
                                  "here."));
    if (!writable || cloned)
        return fail(Error(ErrorKind::unsupported,
                          fmt::format("snapshot {} of image {} cannot be mended: only the newest "
                                      "one of a replica in Ceph can",
                                      snapshot.id.text(), image->name))
                        .keeping("it as it is")
                        .advising("Send a newer snapshot and verify that one, then remove this "
                                  "one."));
    if (is_pinned(image->name, snapshot.id))
        return fail(ErrorKind::unavailable,
                    "snapshot " + snapshot.id.text() + " is being read by something else");
    return {};
}

Result<> Volume::publish_patch(const SnapshotId& patch, OpenImage& image) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    auto& record = stored.record;
    const auto* written = record.incoming(patch);
    const bool goes_on = written && record.mending && record.mending->patch == patch &&
                         record.listed(record.mending->snapshot);
    if (!goes_on) return fail(ErrorKind::unavailable, "what was mended was given up meanwhile");
    if (is_pinned(written->name, record.mending->snapshot))
        return fail(ErrorKind::unavailable, "the snapshot is being read by something else");
    auto made = images_.make_snapshot(image, patch);
    if (!made && made.error().kind() == ErrorKind::conflict) {
        UNDERSTUDY_TRY(images_.remove_snapshot(written->name, patch));
        made = images_.make_snapshot(image, patch);
    }
    if (!made) return made;
    crash_point("patch frozen");
    record.mending->replaced = SnapshotId::random();
    UNDERSTUDY_TRY(save(stored));
    crash_point("mend decided");
    UNDERSTUDY_TRY(finish_patch(stored));
    return sweep(stored);
}

// Once the record names what the former snapshot becomes, there is only one way: on.
Result<> Volume::finish_patch(StoredRecord& stored) {
    auto& record = stored.record;
    if (!record.mending || record.mending->replaced.is_nil()) return {};
    const auto mending = *record.mending;
    auto* snapshot = record.find(SnapshotState::listed, mending.snapshot);
    auto* image = record.incoming(mending.patch);
    UNDERSTUDY_INVARIANT(snapshot && image, "a mend without its snapshot or its image");
    auto moved = UNDERSTUDY_VALUE(images_.has_snapshot(image->name, mending.replaced));
    if (!moved)
        UNDERSTUDY_TRY(images_.rename_snapshot(image->name, mending.snapshot, mending.replaced));
    crash_point("former snapshot renamed");
    auto waits = UNDERSTUDY_VALUE(images_.has_snapshot(image->name, mending.patch));
    if (waits)
        UNDERSTUDY_TRY(images_.rename_snapshot(image->name, mending.patch, mending.snapshot));
    crash_point("patch renamed");
    image->role = ImageRole::idle;
    image->snapshot = {};
    image->base = image->lineage = mending.snapshot;
    image->size = {};
    record.mending.reset();
    std::erase_if(own_, [&](const auto& known) {
        return known.first.first == mending.snapshot || known.first.second == mending.snapshot;
    });
    const VolumeSnapshot former{
        .id = mending.replaced, .image = image->name, .state = SnapshotState::unwanted};
    record.snapshots.insert(record.snapshots.begin() + (snapshot - record.snapshots.data()),
                            former);
    return save(stored);
}

Result<> Volume::discard_patch(const SnapshotId& patch) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(load());
    if (!stored || !stored->record.mending || stored->record.mending->patch != patch) return {};
    return sweep(*stored);
}

// One that nobody in this process goes on with, and that is not decided: its head is of no worth.
Result<bool> Volume::sweep_patch(StoredRecord& stored) {
    auto& record = stored.record;
    if (!record.mending) return false;
    const auto patch = record.mending->patch;
    if (!record.mending->replaced.is_nil()) {
        UNDERSTUDY_TRY(finish_patch(stored));
        return true;
    }
    if (receiving_.contains(patch)) return false;
    if (auto* image = record.incoming(patch)) {
        UNDERSTUDY_TRY(images_.remove_snapshot(image->name, patch));
        crash_point("mend undone");
        image->role = ImageRole::dirty;
        image->snapshot = {};
        image->size = {};
    }
    record.mending.reset();
    UNDERSTUDY_TRY(save(stored));
    return true;
}

}  // namespace understudy::rbd
