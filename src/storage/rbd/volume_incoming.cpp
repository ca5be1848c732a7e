#include "storage/rbd/image_writer.hpp"
#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

// Receives a snapshot into the head of an image: the base's own image if its head is idle on the
// base, else a clone of the base, else a new image. The record names it as `incoming` before the
// first byte. publish() flushes, takes the snapshot and then records it. A crash before the record
// leaves a snapshot that the next publish() takes again, or that discard() removes. receive() goes
// on with an image that is there. Discarding rolls the head back or removes the image, by a sweep.

namespace understudy::rbd {
namespace {

using Writer = std::unique_ptr<ImageWriter>;

// It is in one of three states. It is being received. Or its image is gone: then no bytes are
// taken, but it can be discarded. Or it is published already: then only publish() succeeds.
class ImageIncoming : public ports::Incoming {
public:
    ImageIncoming(std::shared_ptr<Volume> volume, SnapshotId id, std::variant<Writer, Error> writer)
        : volume_(std::move(volume)), id_(id), writer_(std::move(writer)) {}
    ~ImageIncoming() override { release(); }
    ImageIncoming(const ImageIncoming&) = delete;
    ImageIncoming& operator=(const ImageIncoming&) = delete;

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        return with_writer([&](auto& writer) { return writer.write(offset.count(), data); });
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        return with_writer(
            [&](auto& writer) { return writer.zero(offset.count(), length.count()); });
    }
    Result<> flush() override {
        return with_writer([](auto& writer) { return writer.flush(); });
    }
    Result<> publish() override {
        if (published_) return {};
        UNDERSTUDY_TRY(flush());
        UNDERSTUDY_TRY(with_writer(
            [&](auto& writer) { return volume_->publish_incoming(id_, writer.image()); }));
        published_ = true;
        close("is published already");
        return {};
    }
    Result<> discard() override {
        if (published_)
            return fail(
                Error(ErrorKind::conflict, "snapshot " + id_.text() + " is published already")
                    .advising("Remove it as a snapshot."));
        close("was discarded");  // an image that is open cannot be rolled back or removed
        return volume_->discard_incoming(id_);
    }
    void mark_published() {
        published_ = true;
        claimed_ = false;
    }

private:
    void close(const char* why) {
        writer_ = Error(ErrorKind::conflict, "snapshot " + id_.text() + " " + why);
        release();
    }
    void release() {
        if (std::exchange(claimed_, false)) volume_->close_incoming(id_);
    }
    template <class Call>
    Result<> with_writer(Call call) {
        if (const auto* error = std::get_if<Error>(&writer_)) return fail(*error);
        return call(*std::get<Writer>(writer_));
    }

    std::shared_ptr<Volume> volume_;
    const SnapshotId id_;
    std::variant<Writer, Error> writer_;
    bool published_ = false;
    bool claimed_ = true;  // nobody else may receive the snapshot
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> Volume::receive(const ports::VolumeLabel& label,
                                                         std::optional<SnapshotId> base,
                                                         const SnapshotId& id, ByteSize size) {
    const std::lock_guard lock(mutex_);
    if (receiving_.contains(id))
        return fail(ErrorKind::unavailable,
                    "snapshot " + id.text() + " is being received by someone else right now");
    auto found = UNDERSTUDY_VALUE(records_.volume(id_));
    StoredRecord stored = found ? std::move(*found) : StoredRecord{};
    auto& record = stored.record;
    if (!found) record.label = label;
    if (record.removing)
        return fail(Error(ErrorKind::unavailable, "volume " + id_.text() + " is being removed")
                        .advising("Finish that first."));
    if (const auto* snapshot = record.listed(id)) {
        if (snapshot->size != size)
            return fail(ErrorKind::conflict,
                        "snapshot " + id.text() + " exists here with another size");
        auto done = std::make_unique<ImageIncoming>(
            shared_from_this(), id,
            Error(ErrorKind::conflict, "snapshot " + id.text() + " is published already"));
        done->mark_published();
        return done;
    }
    if (record.find(SnapshotState::taking, id))
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " is being taken here");
    if (const auto* image = record.incoming(id)) {
        if (image->base != base.value_or(SnapshotId()) || image->size != size)
            return fail(Error(ErrorKind::conflict,
                              fmt::format("snapshot {} is being received on {} with {} bytes",
                                          id.text(), image->base.text(), image->size.count()))
                            .advising("Go on with those, or discard what is there."));
        return open_incoming(*image);
    }
    if (base && !record.listed(*base))
        return fail(ErrorKind::conflict, fmt::format("volume {} has no snapshot {} to build on",
                                                     id_.text(), base->text()));
    return begin_incoming(std::move(stored), base, id, size);
}

Result<std::unique_ptr<ports::Incoming>> Volume::begin_incoming(StoredRecord stored,
                                                                std::optional<SnapshotId> base,
                                                                const SnapshotId& id,
                                                                ByteSize size) {
    auto& record = stored.record;
    if (stored.text.empty()) {
        UNDERSTUDY_TRY(restore_forgotten(""));
    }
    UNDERSTUDY_TRY(sweep(stored));
    const auto* below = base ? record.listed(*base) : nullptr;
    auto* image = below ? record.image(below->image) : nullptr;
    VolumeImage wanted{.name = {},
                       .adopted = false,
                       .role = ImageRole::incoming,
                       .parent = {},
                       .snapshot = id,
                       .base = base.value_or(SnapshotId()),
                       .lineage = base.value_or(SnapshotId()),
                       .size = size};
    if (!below) {
        UNDERSTUDY_TRY(make_image(stored, std::move(wanted), [&](const std::string& name) {
            return images_.create(name, size);
        }));
    } else if (image->role == ImageRole::idle && !image->adopted && image->base == *base) {
        wanted.name = image->name;
        wanted.parent = image->parent;
        *image = std::move(wanted);
        UNDERSTUDY_TRY(save(stored));
    } else {
        wanted.parent = below->image;
        const auto from = *below;
        UNDERSTUDY_TRY(make_image(stored, std::move(wanted), [&](const std::string& name) {
            return images_.clone(from.image, from.id, name);
        }));
    }
    return open_incoming(*record.incoming(id));
}

// If the image is gone, it is not begun anew: the sender relies on what was durable in it.
Result<std::unique_ptr<ports::Incoming>> Volume::open_incoming(const VolumeImage& image) {
    auto opened = images_.open(image.name);
    if (!opened && opened.error().kind() == ErrorKind::not_found) {
        auto lost = Error(ErrorKind::corrupt, opened.error().step_text())
                        .advising("Cancel this transfer and send the snapshot again.");
        receiving_.insert(image.snapshot);
        return std::make_unique<ImageIncoming>(shared_from_this(), image.snapshot, std::move(lost));
    }
    if (!opened) return error_of(opened);
    UNDERSTUDY_TRY(images_.resize(**opened, image.size));
    receiving_.insert(image.snapshot);
    return std::make_unique<ImageIncoming>(
        shared_from_this(), image.snapshot,
        std::make_unique<ImageWriter>(images_, std::move(*opened), image.name));
}

Result<> Volume::publish_incoming(const SnapshotId& id, OpenImage& image) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    auto& record = stored.record;
    if (record.listed(id)) return {};
    auto* incoming = record.incoming(id);
    if (!incoming)
        return fail(ErrorKind::not_found,
                    "what was received of snapshot " + id.text() + " was discarded");
    auto made = images_.make_snapshot(image, id);
    if (!made && made.error().kind() == ErrorKind::conflict) {
        // An attempt that was cut off has taken it, perhaps before the latest bytes were written.
        UNDERSTUDY_TRY(images_.remove_snapshot(incoming->name, id));
        made = images_.make_snapshot(image, id);
    }
    if (!made) return made;
    crash_point("incoming frozen");
    record.snapshots.push_back({.id = id,
                                .image = incoming->name,
                                .size = incoming->size,
                                .parent = incoming->lineage,
                                .state = SnapshotState::listed});
    incoming->role = ImageRole::idle;
    incoming->snapshot = {};
    incoming->base = incoming->lineage = id;
    incoming->size = {};
    return save(stored);
}

Result<> Volume::discard_incoming(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(load());
    if (!stored) return {};
    auto& record = stored->record;
    if (record.listed(id))
        return fail(Error(ErrorKind::conflict, "snapshot " + id.text() + " is published already")
                        .advising("Remove it as a snapshot."));
    if (auto* image = record.incoming(id)) {
        UNDERSTUDY_TRY(images_.remove_snapshot(image->name, id));
        crash_point("publish undone");
        image->role = record.has_snapshots(image->name) ? ImageRole::dirty : ImageRole::doomed;
        image->snapshot = image->base = {};
        image->size = {};
        UNDERSTUDY_TRY(save(*stored));
    }
    UNDERSTUDY_TRY(sweep(*stored));
    // The volume existed only for this snapshot, so it is removed.
    if (record.images.empty() && record.snapshots.empty()) return records_.remove(id_, *stored);
    return {};
}

void Volume::close_incoming(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    receiving_.erase(id);
}

}  // namespace understudy::rbd
