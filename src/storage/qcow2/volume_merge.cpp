#include "base/durable_file.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

// Removes snapshots. The layer of a removed one becomes unnamed. Without a child it is dropped;
// with one child, that is merged down into it and then goes. Under a running VM the hypervisor does
// that (plan_removal, finish_removal), else qemu-img: the merge is recorded, top's content is
// copied, the layers above move over, the record is saved, top is deleted. Top stays whole until
// the record says so, so after a crash the merge is repeated from the start. The VM's own head is
// sealed first (seal_head), and its live merge is never repeated offline.

namespace understudy::qcow2 {
namespace {

bool is_same_file(const std::string& a, const std::string& b) {
    std::error_code error;
    return a == b || std::filesystem::equivalent(a, b, error);
}

Result<bool> is_backed_by(const std::string& image, const std::string& backing) {
    auto info = UNDERSTUDY_VALUE(probe_image(image, "qcow2"));
    if (!info.backing) return false;
    const auto directory = std::filesystem::path(image).parent_path();
    return is_same_file((directory / info.backing->path).string(), backing);
}

}  // namespace

Result<> Volume::remove_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    UNDERSTUDY_TRY(unname(record, id));
    if (record.merge && record.merge->live) {
        // If the VM was already moved to the base, the top is stale: merging it again would undo
        // what was written since.
        if (record.find_file(record.merge->top)->role == LayerRole::head)
            return fail(Error(ErrorKind::conflict,
                              fmt::format("a running VM was asked to merge {} into {}",
                                          path_of(record.merge->top), path_of(record.merge->base)))
                            .advising("Finish that removal first, or adopt the file that the VM is "
                                      "defined with again, which settles whether it took place."));
        record.merge->live = false;
        UNDERSTUDY_TRY(save(record));
    }
    return sweep(record, Merges::offline);
}

Result<std::optional<ports::LiveMerge>> Volume::plan_removal(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    UNDERSTUDY_TRY(unname(record, id));
    if (!record.merge) {
        UNDERSTUDY_TRY(prune(record));
        const auto* base = next_merge(record, Place::under_head);
        if (!base) return std::nullopt;
        const auto* top = record.children_of(base->file).front();
        record.merge = PendingMerge{.base = base->file, .top = top->file, .live = true};
        UNDERSTUDY_TRY(save(record));
        crash_point("live merge planned");
    } else if (!record.merge->live) {
        if (!record.is_under_head(record.merge->top)) return std::nullopt;
        record.merge->live = true;
        UNDERSTUDY_TRY(save(record));
    }
    return ports::LiveMerge{
        .base = path_of(record.merge->base),
        .top = path_of(record.merge->top),
        .top_is_head = record.find_file(record.merge->top)->role == LayerRole::head};
}

Result<> Volume::finish_removal(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    UNDERSTUDY_TRY(unname(record, id));
    if (record.merge && record.merge->live) {
        UNDERSTUDY_TRY(check_live_merge_done(record));
        UNDERSTUDY_TRY(finish_pending(record));
    }
    return sweep(record, Merges::beside_running_vm);
}

Result<> Volume::check_live_merge_done(const VolumeRecord& record) const {
    const auto base = path_of(record.merge->base);
    const auto top = path_of(record.merge->top);
    const auto not_done = [&] {
        return fail(
            Error(ErrorKind::conflict, fmt::format("{} is not merged into {} yet", top, base))
                .advising("Let the hypervisor merge it, then finish the removal."));
    };
    if (record.find_file(record.merge->top)->role == LayerRole::head)
        return in_use_by_qemu(top) ? not_done() : Result<>{};
    for (const auto* child : record.children_of(record.merge->top)) {
        if (!record.is_under_head(child->file)) continue;
        auto moved = UNDERSTUDY_VALUE(is_backed_by(path_of(*child), base));
        if (!moved) return not_done();
    }
    return {};
}

Result<> Volume::unname(VolumeRecord& record, const SnapshotId& id) {
    auto* layer = record.find(LayerRole::snapshot, id);
    if (!layer) return {};
    layer->role = LayerRole::unnamed;
    layer->snapshot = {};
    UNDERSTUDY_TRY(save(record));
    crash_point("snapshot unnamed");
    return {};
}

Result<> Volume::prune(VolumeRecord& record) {
    for (;;) {
        const auto unneeded = std::ranges::find_if(record.layers, [&](const VolumeLayer& layer) {
            return layer.role == LayerRole::unnamed && record.children_of(layer.file).empty();
        });
        if (unneeded == record.layers.end()) return {};
        UNDERSTUDY_TRY(drop(record, std::string(unneeded->file)));
    }
}

bool Volume::is_pinned(const std::string& path) const {
    const std::lock_guard lock(pins_mutex_);
    return std::ranges::any_of(
        pins_, [&](const auto& paths) { return std::ranges::find(paths, path) != paths.end(); });
}

// No merge writes into a layer that somebody reads, or takes a layer away from under a writer.
bool Volume::may_merge(const VolumeRecord& record, const VolumeLayer& base,
                       const VolumeLayer& top) const {
    if (base.role != LayerRole::unnamed || is_pinned(path_of(base))) return false;
    if (top.role != LayerRole::snapshot && top.role != LayerRole::unnamed &&
        top.role != LayerRole::head)
        return false;
    return std::ranges::none_of(record.layers, [&](const VolumeLayer& layer) {
        if (layer.role == LayerRole::drill || layer.role == LayerRole::successor)
            return record.is_above(layer, base.file);
        if (layer.role == LayerRole::incoming || layer.role == LayerRole::prepared)
            return layer.parent == base.file || layer.parent == top.file;
        return false;
    });
}

// The lowest base comes first: a run of layers to be merged is then copied once, not once per
// layer.
const VolumeLayer* Volume::next_merge(const VolumeRecord& record, Place place) const {
    for (const auto& layer : record.layers) {
        const auto children = record.children_of(layer.file);
        if (children.size() != 1 || !may_merge(record, layer, *children.front())) continue;
        const bool under_head = record.is_under_head(children.front()->file);
        if (under_head == (place == Place::under_head)) return &layer;
    }
    return nullptr;
}

Result<> Volume::sweep(VolumeRecord& record, Merges merges) {
    for (;;) {
        UNDERSTUDY_TRY(prune(record));
        if (!record.merge) {
            const auto* base = next_merge(record, Place::elsewhere);
            if (!base && merges == Merges::offline) base = next_merge(record, Place::under_head);
            if (!base) return {};
            const auto* top = record.children_of(base->file).front();
            record.merge = PendingMerge{.base = base->file, .top = top->file, .live = false};
            UNDERSTUDY_TRY(save(record));
            crash_point("merge recorded");
        }
        const auto& top = *record.find_file(record.merge->top);
        const bool hands_off =
            merges == Merges::beside_running_vm && record.is_under_head(top.file);
        if (hands_off || !may_merge(record, *record.find_file(record.merge->base), top)) return {};
        UNDERSTUDY_TRY(merge_offline(record));
    }
}

Result<> Volume::merge_offline(VolumeRecord& record) {
    const auto& top = *record.find_file(record.merge->top);
    const auto& base = *record.find_file(record.merge->base);
    const auto step = fmt::format("merge {} into {}", path_of(top), path_of(base));
    if (auto done = commit_layer(path_of(top), top.format, path_of(base)); !done) {
        auto error = std::move(done.error()).during(step).keeping("every snapshot as it was");
        return std::unexpected(with_free_space(
            std::move(error), std::filesystem::path(path_of(base)).parent_path().string(),
            allocated_bytes(path_of(top))));
    }
    crash_point("content merged");
    auto wanted = probe_image(path_of(top), top.format);
    if (!wanted) return fail(std::move(wanted.error()).during(step));
    auto present = probe_image(path_of(base), base.format);
    if (!present) return fail(std::move(present.error()).during(step));
    if (present->size > wanted->size)
        UNDERSTUDY_TRY(shrink_image(path_of(base), base.format, wanted->size));
    return top.role == LayerRole::head ? seal_head(record) : finish_pending(record);
}

// Until the VM's definition is changed, the VM may be started on the head that was merged, and what
// its guest writes there must not be lost. So no VM can open the head from this check on, and the
// file is deleted before the record forgets it. It is never a leftover.
Result<> Volume::seal_head(VolumeRecord& record) {
    const auto top = path_of(record.merge->top);
    const auto guard = WriteGuard::take(top);
    if (!guard)
        return fail(Error(guard.error())
                        .during("merge " + top)
                        .keeping("the VM's disk and every snapshot as they were"));
    UNDERSTUDY_TRY(base::sync_path(path_of(record.merge->base)));
    record.merge->seal = change_stamp(top);
    UNDERSTUDY_TRY(save(record));
    crash_point("merge sealed");
    return finish_sealed_under(record);
}

// If a daemon died after the seal, the record is still sealed. The head's stamp tells whether a VM
// was started on it since and wrote to it. If so, the seal is dropped, and the head is merged
// again.
Result<> Volume::finish_sealed(VolumeRecord& record) {
    if (!record.merge || record.merge->seal.empty()) return {};
    const auto top = path_of(record.merge->top);
    const auto stamp = change_stamp(top);
    if (stamp.empty()) return finish_sealed_under(record);
    const auto guard = WriteGuard::take(top);
    if (guard && stamp == record.merge->seal && change_stamp(top) == stamp)
        return finish_sealed_under(record);
    if (!guard && guard.error().kind() != ErrorKind::conflict)
        return std::unexpected(guard.error());
    record.merge->seal.clear();
    return save(record);
}

// No VM can write to the head now, or its file is gone.
Result<> Volume::finish_sealed_under(VolumeRecord& record) {
    if (!record.find_file(record.merge->top)->adopted) {
        UNDERSTUDY_TRY(remove_file(path_of(record.merge->top)));
        UNDERSTUDY_TRY(base::sync_path(directory_));
        crash_point("merged head deleted");
    }
    return finish_pending(record);
}

// Called once base holds top's content. The layers above top are moved onto base, then top goes.
// Until the record says so, the disk reads the same with top in the chain and without it.
Result<> Volume::finish_pending(VolumeRecord& record) {
    const auto base = *record.find_file(record.merge->base);
    const auto top = *record.find_file(record.merge->top);
    UNDERSTUDY_TRY(base::sync_path(path_of(base)));
    crash_point("merged content durable");
    for (const auto* child : record.children_of(top.file)) {
        auto moved = UNDERSTUDY_VALUE(is_backed_by(path_of(*child), path_of(base)));
        if (moved) continue;
        UNDERSTUDY_TRY(rebase_header(path_of(*child), path_of(base), base.format));
        UNDERSTUDY_TRY(base::sync_path(path_of(*child)));
        crash_point("child moved over");
    }
    record.finish_merge();
    if (const auto info = probe_image(path_of(base), base.format))
        record.find_file(base.file)->size = info->size;
    UNDERSTUDY_TRY(save(record));
    crash_point("merge finished in the record");
    return top.adopted ? Result<>{} : remove_file(path_of(top));
}

}  // namespace understudy::qcow2
