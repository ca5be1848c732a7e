#include "storage/qcow2/layer_chain.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <utility>

namespace understudy::qcow2 {
namespace {

// Whether a guest wrote anything to the overlay.
Result<bool> is_untouched(const std::string& path) {
    auto chain = LayerChain::open(path, "qcow2");
    if (!chain) return std::unexpected(std::move(chain.error()));
    auto extent = (*chain)->extents(1, ByteOffset(0), false)->next();
    if (!extent) return std::unexpected(std::move(extent.error()));
    return !extent->has_value();
}

}  // namespace

Result<ports::DiskSource> Volume::activate(const SnapshotId& id, ports::ActivationKind kind) {
    const std::lock_guard lock(mutex_);
    auto record = loaded();
    if (!record) return std::unexpected(std::move(record.error()));
    const auto* found = record->find(LayerRole::snapshot, id);
    if (!found) return no_snapshot(id);
    const auto onto = *found;
    if (kind == ports::ActivationKind::drill) {
        auto reused = untouched_drill(*record, id);
        if (!reused) return std::unexpected(std::move(reused.error()));
        if (*reused) return source_of(**reused);
        if (record->merge && record->merge->live && record->is_above(onto, record->merge->base))
            return fail(ErrorKind::unavailable,
                        "layers under snapshot " + id.text() + " are being merged");
        auto overlay = make_overlay(*record, onto, onto.size, LayerRole::drill, id);
        if (!overlay) return std::unexpected(std::move(overlay.error()));
        record->layers.push_back(*overlay);
        UNDERSTUDY_TRY(save(*record));
        crash_point("drill made");
        return source_of(*overlay);
    }
    const auto* head = record->find(LayerRole::head);
    const bool made_for_it = head && head->snapshot == id && head->parent == onto.file;
    if (made_for_it) {
        if (kind == ports::ActivationKind::promote) return source_of(*head);
        auto untouched = is_untouched(path_of(*head));
        if (!untouched) return std::unexpected(std::move(untouched.error()));
        if (*untouched) return source_of(*head);
    }
    if (head && kind == ports::ActivationKind::promote)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} has a disk that a VM writes to", id_.text()))
                        .advising("Roll back instead; that throws away what it holds beyond its "
                                  "snapshots."));
    return replace_head(*record, onto);
}

// A drill of the same snapshot that nothing ran on yet: the same call, repeated after a crash.
Result<std::optional<VolumeLayer>> Volume::untouched_drill(const VolumeRecord& record,
                                                           const SnapshotId& id) {
    for (const auto& layer : record.layers) {
        if (layer.role != LayerRole::drill || layer.snapshot != id) continue;
        if (in_use_by_qemu(path_of(layer))) continue;
        auto untouched = is_untouched(path_of(layer));
        if (!untouched) return std::unexpected(std::move(untouched.error()));
        if (*untouched) return layer;
    }
    return std::nullopt;
}

Result<ports::DiskSource> Volume::replace_head(VolumeRecord& record, const VolumeLayer& onto) {
    const auto* found = record.find(LayerRole::head);
    const auto old = found ? std::optional(*found) : std::nullopt;
    if (record.find(LayerRole::prepared))
        return fail(Error(ErrorKind::conflict, "a snapshot of this volume is being taken")
                        .advising("Commit or cancel it first."));
    if (old && old->adopted)
        return fail(ErrorKind::refused, "the user's own disk " + old->file +
                                            " would be thrown away; take a snapshot of it first");
    if (old && in_use_by_qemu(path_of(*old)))
        return fail(Error(ErrorKind::refused, "a VM still runs on " + path_of(*old))
                        .advising("Stop it first."));
    auto overlay = make_overlay(record, onto, onto.size, LayerRole::head, onto.snapshot);
    if (!overlay) return std::unexpected(std::move(overlay.error()));
    const auto source = source_of(*overlay);
    record.layers.push_back(std::move(*overlay));
    if (!old) {
        UNDERSTUDY_TRY(save(record));
        crash_point("head made");
        return source;
    }
    UNDERSTUDY_TRY(drop(record, old->file));
    UNDERSTUDY_TRY(prune(record));
    return source;
}

Result<> Volume::deactivate(const ports::DiskSource& source) {
    const std::lock_guard lock(mutex_);
    auto record = loaded();
    if (!record) return std::unexpected(std::move(record.error()));
    for (const auto& layer : record->layers) {
        if (path_of(layer) != source.location) continue;
        if (layer.role != LayerRole::drill)
            return fail(ErrorKind::refused, source.location + " is not a drill's disk");
        if (in_use_by_qemu(source.location))
            return fail(Error(ErrorKind::refused, "the drill still runs on " + source.location)
                            .advising("Stop it first."));
        UNDERSTUDY_TRY(drop(*record, std::string(layer.file)));
        return prune(*record);
    }
    return {};
}

}  // namespace understudy::qcow2
