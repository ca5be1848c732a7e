#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// Removes images and snapshots that are not needed any more. sweep() repeats its steps until none
// of them changes anything: images that were being made, mends given up, dirty heads, unwanted
// snapshots, doomed images. Each step removes one thing and then saves the record, so a crash
// leaves a record that still names it, and the next sweep goes on. What is pinned, in use or cloned
// waits for a later sweep. forget() sets the record aside if images are kept, else it marks the
// volume as `removing` and removes all; called again after a crash, it goes on.

namespace understudy::rbd {

Result<> Volume::sweep(StoredRecord& stored) {
    using Step = Result<bool> (Volume::*)(StoredRecord&);
    for (bool again = true; again;) {
        again = false;
        for (const Step step : {&Volume::sweep_making, &Volume::sweep_patch, &Volume::sweep_dirty,
                                &Volume::sweep_snapshots, &Volume::sweep_doomed}) {
            auto changed = UNDERSTUDY_VALUE((this->*step)(stored));
            again = again || changed;
        }
    }
    return {};
}

Result<bool> Volume::sweep_making(StoredRecord& stored) {
    const auto* making = stored.record.find(ImageRole::making);
    if (!making) return false;
    const std::string name = making->name;
    UNDERSTUDY_TRY(images_.remove(name));
    crash_point("leftover removed");
    stored.record.remove_image(name);
    UNDERSTUDY_TRY(save(stored));
    return true;
}

// A head of no worth goes back to the newest snapshot. An image without any snapshot goes.
Result<bool> Volume::sweep_dirty(StoredRecord& stored) {
    for (auto& image : stored.record.images) {
        if (image.role != ImageRole::dirty && image.role != ImageRole::idle) continue;
        if (!stored.record.has_snapshots(image.name)) {
            if (image.adopted) {
                // While clones hold on to it by rbd's trash, the user could not remove it.
                auto free = UNDERSTUDY_VALUE(free_children(stored, image.name));
                if (!free) continue;
                stored.record.remove_image(std::string(image.name));
            } else {
                image.role = ImageRole::doomed;
            }
            UNDERSTUDY_TRY(save(stored));
            return true;
        }
        if (image.role == ImageRole::idle) continue;
        const auto* newest = stored.record.newest_of(image.name);
        if (!newest) continue;  // only unwanted ones that somebody reads
        UNDERSTUDY_TRY(images_.roll_back(image.name, newest->id));
        crash_point("rolled back");
        image.role = ImageRole::idle;
        image.base = image.lineage = newest->id;
        image.snapshot = {};
        UNDERSTUDY_TRY(save(stored));
        return true;
    }
    return false;
}

bool Volume::is_pinned(const std::string& image, const SnapshotId& id) const {
    const std::lock_guard lock(pins_mutex_);
    return std::ranges::any_of(pins_, [&](const auto& pins) {
        return std::ranges::find(pins, Pin(image, id)) != pins.end();
    });
}

// A snapshot is needed by a reader, or because an image goes back to it if what is being received
// into the image is discarded.
bool Volume::is_needed(const VolumeRecord& record, const VolumeSnapshot& snapshot) const {
    const auto* image = record.image(snapshot.image);
    if (image->role == ImageRole::incoming && image->base == snapshot.id) return true;
    return is_pinned(snapshot.image, snapshot.id);
}

Result<bool> Volume::sweep_snapshots(StoredRecord& stored) {
    for (const auto& snapshot : stored.record.snapshots) {
        if (snapshot.state != SnapshotState::unwanted || is_needed(stored.record, snapshot))
            continue;
        const auto gone = snapshot;
        auto was_there = UNDERSTUDY_VALUE(images_.remove_snapshot(gone.image, gone.id));
        crash_point("snapshot removed");
        // If Ceph was late with it, it may still come, until a later snapshot of the image is
        // there.
        const auto* newest = stored.record.newest_of(gone.image);
        const bool may_come = gone.late && !was_there && (!newest || newest < &snapshot);
        if (may_come) continue;
        stored.record.snapshots.erase(stored.record.snapshots.begin() +
                                      (&snapshot - stored.record.snapshots.data()));
        UNDERSTUDY_TRY(save(stored));
        return true;
    }
    return false;
}

// Makes the clones of an image independent of it. False: one of them must wait.
Result<bool> Volume::free_children(StoredRecord& stored, const std::string& image) {
    for (auto& child : stored.record.images) {
        if (child.parent != image) continue;
        if (child.role != ImageRole::head && child.role != ImageRole::idle) return false;
        UNDERSTUDY_TRY(images_.flatten(child.name));
        crash_point("clone made independent");
        child.parent.clear();
        UNDERSTUDY_TRY(save(stored));
    }
    return true;
}

Result<bool> Volume::sweep_doomed(StoredRecord& stored) {
    for (const auto& image : stored.record.images) {
        if (image.role != ImageRole::doomed || stored.record.has_snapshots(image.name)) continue;
        if (is_pinned(image.name, {})) continue;
        const std::string name = image.name;
        auto free = UNDERSTUDY_VALUE(free_children(stored, name));
        if (!free) continue;
        auto removed = images_.remove(name);
        if (!removed && removed.error().kind() == ErrorKind::conflict) {
            auto watchers = UNDERSTUDY_VALUE(images_.watchers(name));
            if (!watchers.empty()) continue;  // in use: for a later call
            // Somebody has made a snapshot of it, or a clone of one of ours. The image is theirs
            // now.
        } else if (!removed) {
            return error_of(removed);
        }
        crash_point("image removed");
        stored.record.remove_image(name);
        UNDERSTUDY_TRY(save(stored));
        return true;
    }
    return false;
}

Result<> Volume::remove_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    stored.record.unlist(id);
    UNDERSTUDY_TRY(save(stored));
    return sweep(stored);
}

Result<> Volume::forget(bool remove_data) {
    const std::lock_guard lock(mutex_);
    auto found = UNDERSTUDY_VALUE(records_.volume(id_));
    if (!found) return {};
    auto& stored = *found;
    UNDERSTUDY_TRY(sweep_patch(stored));
    if (stored.record.removing) return remove_everything(stored);
    const bool has_own =
        std::ranges::any_of(stored.record.images, [](const auto& image) { return !image.adopted; });
    const bool keep = !remove_data && (has_own || !stored.record.snapshots.empty());
    if (keep) return records_.set_aside(id_, stored);
    for (const auto& image : stored.record.images)
        if (!image.adopted) UNDERSTUDY_TRY(check_unused(image.name));
    stored.record.removing = true;
    UNDERSTUDY_TRY(save(stored));
    return remove_everything(stored);
}

// Snapshots go before the images that they are of, and clones before what they are clones of.
Result<> Volume::remove_everything(StoredRecord& stored) {
    auto& record = stored.record;
    for (const auto& snapshot : record.snapshots) {
        UNDERSTUDY_TRY(images_.remove_snapshot(snapshot.image, snapshot.id));
        crash_point("snapshot removed");
    }
    while (!record.images.empty()) {
        const auto leaf = std::ranges::find_if(record.images, [&](const VolumeImage& image) {
            return std::ranges::find(record.images, image.name, &VolumeImage::parent) ==
                   record.images.end();
        });
        UNDERSTUDY_INVARIANT(leaf != record.images.end(), "clones in a circle");
        const std::string name = leaf->name;
        if (!leaf->adopted)
            if (auto removed = images_.remove(name); !removed) {
                if (removed.error().kind() != ErrorKind::conflict) return error_of(removed);
                UNDERSTUDY_TRY(check_unused(name));  // or somebody else made it theirs
            }
        crash_point("image removed");
        record.remove_image(name);
        UNDERSTUDY_TRY(save(stored));
    }
    return records_.remove(id_, stored);
}

}  // namespace understudy::rbd
