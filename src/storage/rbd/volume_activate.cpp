#include "storage/rbd/image_changes.hpp"
#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

// Heads on a snapshot: activate makes one for a promote, a rollback or a drill, deactivate and
// retire_head remove one. A promote takes the image as it is if its head is idle on that snapshot,
// else makes a clone. A rollback within the head's image is only recorded; the promote that follows
// does it in place. Each of the three first removes what a crash has left (settled), and the same
// call, repeated, takes a clone that nothing has run on. Doomed images are removed here or by a
// later sweep.

namespace understudy::rbd {
namespace {

// The newest head that was made for this rollback: a VM may have run on an earlier one.
const VolumeImage* newest_successor(const VolumeRecord& record, const SnapshotId& id) {
    const VolumeImage* newest = nullptr;
    for (const auto& image : record.images)
        if (image.role == ImageRole::successor && image.snapshot == id) newest = &image;
    return newest;
}

}  // namespace

Result<ports::DiskSource> Volume::activate(const SnapshotId& id, ports::ActivationKind kind) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(open_for_change());
    auto& record = stored.record;
    const auto* found = record.listed(id);
    if (!found) return no_snapshot(id);
    const auto onto = *found;
    if (kind == ports::ActivationKind::promote) return promote(stored, onto);
    const bool drill = kind == ports::ActivationKind::drill;
    const auto role = drill ? ImageRole::drill : ImageRole::successor;
    if (!drill) UNDERSTUDY_TRY(check_replaceable(record));
    const auto* head = record.find(ImageRole::head);
    if (!drill && head && head->name == onto.image) {
        record.rollback = id;
        UNDERSTUDY_TRY(save(stored));
        return source_of(*record.find(ImageRole::head));
    }
    auto reused = UNDERSTUDY_VALUE(untouched(record, role, id));
    if (reused) return source_of(*record.image(*reused));
    return make_clone(stored, onto, role);
}

// A clone of this role for the same snapshot that nothing has run on yet. It is there if the same
// call was made before and cut off by a crash.
Result<std::optional<std::string>> Volume::untouched(const VolumeRecord& record, ImageRole role,
                                                     const SnapshotId& id) {
    for (const auto& image : record.images | std::views::reverse) {
        if (image.role != role || image.snapshot != id) continue;
        auto watchers = UNDERSTUDY_VALUE(images_.watchers(image.name));
        if (!watchers.empty()) continue;
        auto used = UNDERSTUDY_VALUE(has_own_data(images_, image.name));
        if (!used) return image.name;
    }
    return std::nullopt;
}

Result<ports::DiskSource> Volume::promote(StoredRecord& stored, const VolumeSnapshot& onto) {
    auto& record = stored.record;
    if (record.rollback == onto.id) return roll_back_in_place(stored);
    if (const auto* next = newest_successor(record, onto.id))
        return finish_rollback(stored, std::string(next->name));
    if (const auto* head = record.find(ImageRole::head)) {
        if (head->snapshot == onto.id) return source_of(*head);
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} has a disk that a VM writes to", id_.text()))
                        .advising("Roll back instead; that throws away what it holds beyond its "
                                  "snapshots."));
    }
    auto* image = record.image(onto.image);
    if (image->role != ImageRole::idle || image->adopted || image->base != onto.id)
        return make_clone(stored, onto, ImageRole::head);
    image->role = ImageRole::head;
    image->snapshot = image->lineage = onto.id;
    image->base = {};
    const auto source = source_of(*image);
    UNDERSTUDY_TRY(save(stored));
    return source;
}

Result<> Volume::check_replaceable(const VolumeRecord& record) {
    if (record.taking())
        return fail(Error(ErrorKind::conflict, "a snapshot of this volume is being taken")
                        .advising("Commit or cancel it first."));
    const auto* head = record.find(ImageRole::head);
    if (!head) return {};
    return check_unused(head->name);
}

// After a crash this is repeated from the start. Until the record says that it is done, no VM has
// run on the head.
Result<ports::DiskSource> Volume::roll_back_in_place(StoredRecord& stored) {
    auto& record = stored.record;
    UNDERSTUDY_TRY(check_replaceable(record));
    auto* head = record.find(ImageRole::head);
    UNDERSTUDY_INVARIANT(head, "a rollback in place of a volume without a head");
    UNDERSTUDY_TRY(images_.roll_back(head->name, record.rollback));
    crash_point("rolled back");
    head->snapshot = head->lineage = record.rollback;
    record.rollback = {};
    // Heads of rollbacks that were given up.
    for (auto& image : record.images)
        if (image.role == ImageRole::successor) image.role = ImageRole::doomed;
    const auto source = source_of(*head);
    UNDERSTUDY_TRY(save(stored));
    UNDERSTUDY_TRY(sweep(stored));
    return source;
}

// The VM is defined with the head of a rollback. That head takes the place of the former one.
Result<ports::DiskSource> Volume::finish_rollback(StoredRecord& stored, const std::string& name) {
    auto& record = stored.record;
    UNDERSTUDY_TRY(check_replaceable(record));
    for (auto& image : record.images) {
        if (image.role == ImageRole::head) image.role = ImageRole::dirty;
        if (image.role == ImageRole::dirty && image.adopted) {
            image.role = ImageRole::idle;  // the user's own stays as it is
            image.base = {};
        }
        if (image.role == ImageRole::successor && image.name != name)
            image.role = ImageRole::doomed;
    }
    auto* chosen = record.image(name);
    chosen->role = ImageRole::head;
    record.rollback = {};
    const auto source = source_of(*chosen);
    UNDERSTUDY_TRY(save(stored));
    UNDERSTUDY_TRY(sweep(stored));
    return source;
}

Result<> Volume::deactivate(const ports::DiskSource& source) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(open_for_change());
    auto& record = stored.record;
    const auto name = image_at(source.location);
    auto* image = name ? record.image(*name) : nullptr;
    if (!image || image->role == ImageRole::doomed) return {};
    if (image->role == ImageRole::head && !record.rollback.is_nil()) {
        record.rollback = {};
        return save(stored);
    }
    if (image->role != ImageRole::drill && image->role != ImageRole::successor)
        return fail(ErrorKind::refused,
                    source.location + " is the disk of a drill or rollback no more");
    UNDERSTUDY_TRY(check_unused(image->name));
    image->role = ImageRole::doomed;
    UNDERSTUDY_TRY(save(stored));
    return sweep(stored);
}

Result<bool> Volume::head_is_on(const VolumeRecord& record, const SnapshotId& on) {
    const auto* frozen = record.listed(on);
    if (!frozen) return no_snapshot(on);
    const auto* head = record.find(ImageRole::head);
    if (!head) return true;
    if (head->lineage != on) return false;
    auto changed =
        UNDERSTUDY_VALUE(frozen->image == head->name ? has_changed(images_, head->name, on)
                                                     : has_own_data(images_, head->name));
    return !changed;
}

Result<bool> Volume::head_equals(const SnapshotId& on) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    return head_is_on(stored.record, on);
}

Result<> Volume::retire_head(const SnapshotId& on) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(open_for_change());
    auto& record = stored.record;
    auto equal = UNDERSTUDY_VALUE(head_is_on(record, on));
    auto* head = record.find(ImageRole::head);
    if (!equal)
        return fail(ErrorKind::conflict,
                    fmt::format("{} holds what that snapshot does not", head->name));
    UNDERSTUDY_TRY(check_replaceable(record));
    if (head) {
        const bool in_place = record.listed(on)->image == head->name;
        head->role = in_place ? ImageRole::idle : ImageRole::doomed;
        head->base = in_place && !head->adopted ? on : SnapshotId{};
        head->snapshot = {};
    }
    for (auto& image : record.images)  // heads of rollbacks that were given up
        if (image.role == ImageRole::successor) image.role = ImageRole::doomed;
    record.rollback = {};
    UNDERSTUDY_TRY(save(stored));
    return sweep(stored);
}

}  // namespace understudy::rbd
