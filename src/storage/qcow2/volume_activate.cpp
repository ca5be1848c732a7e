#include "base/durable_file.hpp"
#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace understudy::qcow2 {
namespace {

// Whether a guest wrote anything to the overlay, or gave it another size than this.
Result<bool> is_untouched(const std::string& path, std::optional<ByteSize> size = {}) {
    auto chain = UNDERSTUDY_VALUE(LayerChain::open(path, "qcow2"));
    if (size && chain->size() != *size) return false;
    auto extent = UNDERSTUDY_VALUE(chain->extents(1, ByteOffset(0), Zeroes::listed)->next());
    return !extent.has_value();
}

// A VM may have run on an earlier one.
const VolumeLayer* newest_successor(const VolumeRecord& record, const SnapshotId& id) {
    const VolumeLayer* newest = nullptr;
    for (const auto& layer : record.layers)
        if (layer.role == LayerRole::successor && layer.snapshot == id) newest = &layer;
    return newest;
}

}  // namespace

Result<ports::DiskSource> Volume::activate(const SnapshotId& id, ports::ActivationKind kind) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* found = record.find(LayerRole::snapshot, id);
    if (!found) return no_snapshot(id);
    const auto onto = *found;
    if (kind == ports::ActivationKind::drill) {
        auto reused = UNDERSTUDY_VALUE(untouched(record, LayerRole::drill, id));
        if (reused) return source_of(*reused);
        if (record.merge && record.merge->live && record.is_above(onto, record.merge->base))
            return fail(ErrorKind::unavailable,
                        "layers under snapshot " + id.text() + " are being merged");
        return make_head(record, onto, LayerRole::drill);
    }
    const auto* head = record.find(LayerRole::head);
    const bool made_for_it = head && head->snapshot == id && head->parent == onto.file;
    if (kind == ports::ActivationKind::promote) {
        if (const auto* next = newest_successor(record, id))
            return finish_rollback(record, std::string(next->file));
        if (made_for_it) {
            const auto source = source_of(*head);
            UNDERSTUDY_TRY(prune(record));  // a crash may have left the head before it
            return source;
        }
        if (!head) return make_head(record, onto, LayerRole::head);
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} has a disk that a VM writes to", id_.text()))
                        .advising("Roll back instead; that throws away what it holds beyond its "
                                  "snapshots."));
    }
    if (made_for_it) {
        auto fresh = UNDERSTUDY_VALUE(is_untouched(path_of(*head)));
        if (fresh) return source_of(*head);
    }
    if (const auto* next = newest_successor(record, id); next && !in_use_by_qemu(path_of(*next))) {
        auto fresh = UNDERSTUDY_VALUE(is_untouched(path_of(*next)));
        if (fresh) return source_of(*next);
    }
    UNDERSTUDY_TRY(check_replaceable(record));
    return make_head(record, onto, LayerRole::successor);
}

// One for the same snapshot that nothing ran on yet: the same call, repeated after a crash.
Result<std::optional<VolumeLayer>> Volume::untouched(const VolumeRecord& record, LayerRole role,
                                                     const SnapshotId& id) {
    for (const auto& layer : record.layers) {
        if (layer.role != role || layer.snapshot != id) continue;
        if (in_use_by_qemu(path_of(layer))) continue;
        auto fresh = UNDERSTUDY_VALUE(is_untouched(path_of(layer)));
        if (fresh) return layer;
    }
    return std::nullopt;
}

Result<bool> Volume::overlay_written(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* prepared = record.find(LayerRole::prepared, id);
    if (!prepared || !file_exists(path_of(*prepared))) return false;
    if (in_use_by_qemu(path_of(*prepared))) return true;
    auto alone = UNDERSTUDY_VALUE(LayerChain::open_alone(path_of(*prepared), "qcow2"));
    auto extent = UNDERSTUDY_VALUE(alone->extents(1, ByteOffset(0), Zeroes::listed)->next());
    return extent.has_value();
}

Result<std::string> Volume::set_aside(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* prepared = record.find(LayerRole::prepared, id);
    if (!prepared) return fail(ErrorKind::not_found, "no overlay for snapshot " + id.text());
    const auto path = path_of(*prepared);
    if (in_use_by_qemu(path)) return fail(ErrorKind::refused, "a VM writes to " + path);
    const auto kept = path + ".kept";  // no name of a layer: nothing takes it for a leftover
    UNDERSTUDY_TRY(base::rename_durably(path, kept));
    crash_point("overlay set aside");
    UNDERSTUDY_TRY(drop(record, std::string(prepared->file)));
    return kept;
}

Result<ports::DiskSource> Volume::make_head(VolumeRecord& record, const VolumeLayer& onto,
                                            LayerRole role) {
    auto overlay = UNDERSTUDY_VALUE(make_overlay(record, onto, onto.size, role, onto.snapshot));
    record.layers.push_back(overlay);
    UNDERSTUDY_TRY(save(record));
    crash_point("head made");
    return source_of(overlay);
}

Result<> Volume::check_replaceable(const VolumeRecord& record) {
    if (record.find(LayerRole::prepared))
        return fail(Error(ErrorKind::conflict, "a snapshot of this volume is being taken")
                        .advising("Commit or cancel it first."));
    const auto* head = record.find(LayerRole::head);
    if (head && head->adopted)
        return fail(ErrorKind::refused, "the user's own disk " + head->file +
                                            " would be thrown away; take a snapshot of it first");
    if (head && in_use_by_qemu(path_of(*head)))
        return fail(Error(ErrorKind::refused, "a VM still runs on " + path_of(*head))
                        .advising("Stop it first."));
    return {};
}

// The VM is defined with the head of a rollback: it takes the place of the one that was there.
Result<ports::DiskSource> Volume::finish_rollback(VolumeRecord& record, const std::string& file) {
    UNDERSTUDY_TRY(check_replaceable(record));
    auto* chosen = record.find_file(file);
    const auto source = source_of(*chosen);
    chosen->role = LayerRole::head;
    for (auto& layer : record.layers) {
        const bool old = layer.role == LayerRole::head && &layer != chosen;
        const bool abandoned =
            layer.role == LayerRole::successor && !in_use_by_qemu(path_of(layer));
        if (!old && !abandoned) continue;
        layer.role = LayerRole::unnamed;  // nothing is built on it: it is pruned
        layer.snapshot = {};
    }
    UNDERSTUDY_TRY(save(record));
    crash_point("rolled back");
    UNDERSTUDY_TRY(prune(record));
    return source;
}

Result<> Volume::deactivate(const ports::DiskSource& source) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    for (const auto& layer : record.layers) {
        if (path_of(layer) != source.location) continue;
        if (layer.role != LayerRole::drill && layer.role != LayerRole::successor)
            return fail(ErrorKind::refused,
                        source.location + " is the disk of a drill or rollback no more");
        if (in_use_by_qemu(source.location))
            return fail(Error(ErrorKind::refused, "a VM still runs on " + source.location)
                            .advising("Stop it first."));
        UNDERSTUDY_TRY(drop(record, std::string(layer.file)));
        return prune(record);
    }
    return {};
}

Result<bool> Volume::head_is_on(const VolumeRecord& record, const SnapshotId& on) {
    const auto* frozen = record.find(LayerRole::snapshot, on);
    if (!frozen) return no_snapshot(on);
    const auto* head = record.find(LayerRole::head);
    if (!head) return true;
    if (head->parent != frozen->file) return false;
    return is_untouched(path_of(*head), frozen->size);
}

Result<bool> Volume::head_equals(const SnapshotId& on) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    return head_is_on(record, on);
}

Result<> Volume::retire_head(const SnapshotId& on) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    auto equal = UNDERSTUDY_VALUE(head_is_on(record, on));
    const auto* head = record.find(LayerRole::head);
    if (!equal)
        return fail(ErrorKind::conflict,
                    fmt::format("{} holds what that snapshot does not", path_of(*head)));
    if (head) UNDERSTUDY_TRY(check_replaceable(record));
    std::vector<std::string> files;  // also heads for rollbacks that came to nothing
    for (const auto& layer : record.layers)
        if (layer.role == LayerRole::head || layer.role == LayerRole::successor)
            files.push_back(layer.file);
    for (const auto& file : files) UNDERSTUDY_TRY(drop(record, file));
    return prune(record);
}

}  // namespace understudy::qcow2
