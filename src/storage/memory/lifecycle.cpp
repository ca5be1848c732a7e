// How layers come, change their part and go: snapshots, activation, removal.
#include "storage/memory/pool.hpp"
#include "storage/memory/pool_state.hpp"

#include <fmt/format.h>

#include <utility>

namespace understudy::memory {

Result<ports::DiskSource> MemoryPool::prepare_snapshot(const VolumeId& id,
                                                       const SnapshotId& snapshot, ByteSize size) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    const auto* head = volume.find(Role::head);
    if (!head) return fail(ErrorKind::conflict, "volume " + id.text() + " has no head");
    if (volume.rollback)
        return fail(ErrorKind::conflict, "volume " + id.text() + " is being rolled back");
    if (const auto* taken = volume.find(Role::snapshot, snapshot)) {
        if (head->parent == taken->location) return source_of(*head);
        return fail(ErrorKind::conflict, "snapshot " + snapshot.text() + " was taken before");
    }
    if (volume.find(Role::incoming, snapshot))
        return fail(ErrorKind::conflict, "snapshot " + snapshot.text() + " is being received");
    if (const auto* prepared = volume.find(Role::prepared)) {
        if (prepared->snapshot != snapshot)
            return fail(Error(ErrorKind::conflict,
                              "snapshot " + prepared->snapshot.text() + " is being taken")
                            .advising("Its task comes first: see `understudy task list`; "
                                      "one that failed may be retried."));
        if (volume.in_place) return source_of(*head);
        if (prepared->size == size) return source_of(*prepared);
        if (prepared->written)
            return fail(ErrorKind::conflict, "a VM writes to " + prepared->location + " already");
        volume.remove(std::string(prepared->location));
        head = volume.find(Role::head);
    }
    if (volume.in_place) return source_of(*head);
    if (volume.merge && volume.merge->top == head->location)
        return fail(Error(ErrorKind::conflict, "the VM is being moved off " + head->location)
                        .advising("Finish the removal that merges it first."));
    auto overlay = state_->overlay_on(id, *head, size, Role::prepared, snapshot);
    const auto source = source_of(overlay);
    volume.layers.push_back(std::move(overlay));
    return source;
}

Result<> MemoryPool::take_snapshot(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    if (!volume.in_place) return {};
    if (volume.find(Role::prepared) || volume.find(Role::snapshot, snapshot))
        return fail(ErrorKind::conflict, "snapshot " + snapshot.text() + " was taken before");
    if (!volume.find(Role::head))
        return fail(ErrorKind::conflict, "volume " + id.text() + " has no head");
    volume.freeze(snapshot, state_->new_location(id));
    return {};
}

Result<bool> MemoryPool::snapshot_taken(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    return found->in_place && (found->find(Role::prepared, snapshot) != nullptr ||
                               found->find(Role::snapshot, snapshot) != nullptr);
}

Result<> MemoryPool::commit_snapshot(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    if (volume.find(Role::snapshot, snapshot)) return {};
    auto* prepared = volume.find(Role::prepared, snapshot);
    auto* head = volume.find(Role::head);
    if (!prepared || !head)
        return fail(ErrorKind::conflict, "snapshot " + snapshot.text() + " was not prepared");
    if (volume.in_place) {
        prepared->role = Role::snapshot;
        return {};
    }
    head->role = Role::snapshot;
    head->snapshot = snapshot;
    prepared->role = Role::head;
    prepared->snapshot = {};
    return {};
}

Result<bool> MemoryPool::overlay_written(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* prepared = found->find(Role::prepared, snapshot);
    return prepared && !found->in_place && prepared->written;
}

Result<std::string> MemoryPool::set_aside(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* prepared = found->find(Role::prepared, snapshot);
    if (!prepared || found->in_place)
        return fail(ErrorKind::not_found, "no overlay for snapshot " + snapshot.text());
    const auto location = prepared->location;
    found->remove(location);
    return location + ".kept";
}

Result<> MemoryPool::cancel_snapshot(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    if (found->find(Role::snapshot, snapshot))
        return fail(Error(ErrorKind::conflict, "snapshot " + snapshot.text() + " was taken already")
                        .advising("Remove it instead."));
    auto& volume = *found;
    auto* prepared = volume.find(Role::prepared, snapshot);
    if (prepared && volume.in_place) {
        prepared->role = Role::unnamed;
        prepared->snapshot = {};
        volume.sweep(true);
    } else if (prepared) {
        volume.remove(std::string(prepared->location));
    }
    return {};
}

Result<std::optional<ports::LiveMerge>> MemoryPool::plan_removal(const VolumeId& id,
                                                                 const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    volume.unname(snapshot);
    volume.prune();
    if (volume.in_place) return std::nullopt;
    if (!volume.merge) {
        const auto* base = volume.next_merge(true);
        if (!base) return std::nullopt;
        volume.merge = Merge{.base = base->location,
                             .top = volume.children_of(*base).front()->location,
                             .done = false};
    }
    return ports::LiveMerge{.base = volume.merge->base,
                            .top = volume.merge->top,
                            .top_is_head = volume.at(volume.merge->top)->role == Role::head};
}

Result<> MemoryPool::finish_removal(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    volume.unname(snapshot);
    if (volume.merge && !volume.merge->done)
        return fail(Error(ErrorKind::conflict, fmt::format("{} is not merged into {} yet",
                                                           volume.merge->top, volume.merge->base))
                        .advising("Let the hypervisor merge it, then finish the removal."));
    if (volume.merge) volume.finish_merge(Merge(*volume.merge));
    volume.sweep(volume.in_place);
    return {};
}

Result<> MemoryPool::remove_snapshot(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    volume.unname(snapshot);
    if (volume.merge && volume.at(volume.merge->top)->role == Role::head)
        return fail(
            Error(ErrorKind::conflict, fmt::format("a running VM was asked to merge {} into {}",
                                                   volume.merge->top, volume.merge->base))
                .advising("Finish that removal first, or adopt the disk that the VM is "
                          "defined with again, which settles whether it took place."));
    if (volume.merge) {
        const Merge step = *volume.merge;
        volume.merge_content(step);
        volume.finish_merge(step);
    }
    volume.sweep(true);
    return {};
}

namespace {

Result<ports::DiskSource> activate_in_place(Volume& volume, const Layer& onto,
                                            ports::ActivationKind kind) {
    const auto* head = volume.find(Role::head);
    const auto source = source_of(*head);
    if (volume.find(Role::prepared))
        return fail(ErrorKind::conflict, "a snapshot of this volume is being taken");
    if (kind == ports::ActivationKind::rollback) {
        volume.rollback = onto.snapshot;
        return source;
    }
    if (volume.rollback == onto.snapshot)
        volume.commit_back(onto);
    else if (head->snapshot != onto.snapshot)
        return fail(ErrorKind::conflict, "the volume has a head");
    return source;
}

}  // namespace

Result<ports::DiskSource> MemoryPool::activate(const VolumeId& id, const SnapshotId& snapshot,
                                               ports::ActivationKind kind) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    const auto* onto = volume.find(Role::snapshot, snapshot);
    if (!onto) return no_snapshot(id, snapshot);
    if (kind == ports::ActivationKind::drill) {
        for (const auto& layer : volume.layers)
            if (layer.role == Role::drill && layer.snapshot == snapshot && !layer.written)
                return source_of(layer);
        if (volume.merge && volume.is_above(*onto, *volume.at(volume.merge->base)))
            return fail(ErrorKind::unavailable,
                        "layers under snapshot " + snapshot.text() + " are being merged");
        auto overlay = state_->overlay_on(id, *onto, onto->size, Role::drill, snapshot);
        const auto source = source_of(overlay);
        volume.layers.push_back(std::move(overlay));
        return source;
    }
    const auto* head = volume.find(Role::head);
    if (volume.in_place && head) return activate_in_place(volume, *onto, kind);
    const bool promote = kind == ports::ActivationKind::promote;
    Layer* made = nullptr;  // the newest: a VM may have run on an earlier one
    for (auto& layer : volume.layers)
        if (layer.role == Role::successor && layer.snapshot == snapshot) made = &layer;
    if (promote && made) {
        UNDERSTUDY_TRY(check_replaceable(volume));
        const auto source = source_of(*made);
        volume.succeed(*made);
        return source;
    }
    if (head && head->snapshot == snapshot && head->parent == onto->location &&
        (promote || !head->written))
        return source_of(*head);
    if (head && promote)
        return fail(Error(ErrorKind::conflict, "volume " + id.text() + " has a head")
                        .advising("Roll back instead; that throws away what it holds beyond its "
                                  "snapshots."));
    if (made && !made->written) return source_of(*made);
    if (!promote) UNDERSTUDY_TRY(check_replaceable(volume));
    auto overlay =
        state_->overlay_on(id, *onto, onto->size, promote ? Role::head : Role::successor, snapshot);
    const auto source = source_of(overlay);
    volume.layers.push_back(std::move(overlay));
    return source;
}

bool MemoryPool::is_rolling_back(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    auto found = state_->volume(id);
    return found && (*found)->rollback.has_value();
}

Result<> MemoryPool::deactivate(const VolumeId& id, const ports::DiskSource& source) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* layer = found->at(source.location);
    if (!layer) return {};
    if (layer->role == Role::head && found->rollback) {
        found->rollback.reset();
        return {};
    }
    if (layer->role != Role::drill && layer->role != Role::successor)
        return fail(ErrorKind::refused,
                    source.location + " is the disk of a drill or rollback no more");
    found->remove(source.location);
    found->prune();
    return {};
}

Result<bool> MemoryPool::head_equals(const VolumeId& id, const SnapshotId& on) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* frozen = found->find(Role::snapshot, on);
    if (!frozen) return no_snapshot(id, on);
    const auto* head = found->find(Role::head);
    return !head || (head->parent == frozen->location && head->content->blocks.empty() &&
                     head->size == frozen->size);
}

Result<std::optional<ByteSize>> MemoryPool::head_own(const VolumeId& id, const SnapshotId&) {
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* head = found->find(Role::head);
    return ByteSize(head ? head->content->data_blocks * kBlockBytes : 0);
}

Result<> MemoryPool::retire_head(const VolumeId& id, const SnapshotId& on) {
    auto equal = UNDERSTUDY_VALUE(head_equals(id, on));
    const std::lock_guard lock(state_->mutex);
    auto found = UNDERSTUDY_VALUE(state_->volume(id));
    auto& volume = *found;
    if (!equal) return fail(ErrorKind::conflict, "the head holds what that snapshot does not");
    if (volume.find(Role::prepared))
        return fail(ErrorKind::conflict, "a snapshot of this volume is being taken");
    for (const auto role : {Role::head, Role::successor})
        while (const auto* layer = volume.find(role)) volume.remove(std::string(layer->location));
    volume.rollback.reset();
    volume.prune();
    return {};
}

}  // namespace understudy::memory
