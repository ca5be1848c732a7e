#include "storage/memory/pool.hpp"

#include "storage/memory/pool_state.hpp"

#include <fmt/format.h>

#include <utility>

// The pool itself: its volumes by id, adopting and forgetting them, and what is asked of a frozen
// snapshot. adopt() moves a user's disk into a new volume, forget() gives it back. A Reader or a
// listing keeps the layers that it was opened with, whatever is merged or removed later. Everything
// is in RAM. Each call about a volume holds the pool's one mutex; a Reader needs none.

namespace understudy::memory {
namespace {

class ViewReader : public ports::Reader {
public:
    explicit ViewReader(View view) : view_(std::move(view)) {}
    ByteSize size() const override { return view_.front().size; }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        if (offset.count() > size().count() || into.size() > size().count() - offset.count())
            return fail(ErrorKind::invalid, "a read beyond the disk's end");
        read_view(view_, offset, into);
        return {};
    }
    void prefetch(ByteOffset, ByteSize) override {}

private:
    const View view_;
};

}  // namespace

ports::DiskSource source_of(const Layer& layer) {
    return {.type = "file", .format = "raw", .location = layer.location};
}

std::unexpected<Error> no_snapshot(const VolumeId& volume, const SnapshotId& id) {
    return fail(ErrorKind::not_found,
                fmt::format("volume {} has no snapshot {}", volume.text(), id.text()));
}

Result<> check_replaceable(Volume& volume) {
    if (volume.find(Role::prepared))
        return fail(ErrorKind::conflict, "a snapshot of this volume is being taken");
    const auto* head = volume.find(Role::head);
    if (head && head->adopted)
        return fail(ErrorKind::refused, "the user's own disk would be thrown away");
    return {};
}

Result<Volume*> PoolState::volume(const VolumeId& id) {
    const auto found = volumes.find(id);
    if (found == volumes.end())
        return fail(ErrorKind::not_found,
                    fmt::format("no volume {} in pool '{}'", id.text(), name));
    return &found->second;
}

std::string PoolState::new_location(const VolumeId& id) {
    return fmt::format("/memory/{}/{}/{}", name, id.text(), ++locations_given);
}

Layer PoolState::overlay_on(const VolumeId& id, const Layer& below, ByteSize size, Role role,
                            const SnapshotId& snapshot) {
    Layer layer;
    layer.location = new_location(id);
    layer.parent = below.location;
    layer.size = size;
    layer.role = role;
    layer.snapshot = snapshot;
    return layer;
}

MemoryPool::MemoryPool(std::string name, Heads heads) : state_(std::make_shared<PoolState>()) {
    state_->name = std::move(name);
    state_->in_place = heads == Heads::stay_in_place;
}
MemoryPool::~MemoryPool() = default;

const std::string& MemoryPool::name() const {
    return state_->name;
}

ports::StorageFeatures MemoryPool::features() const {
    return {.live_overlay = !state_->in_place};
}

bool MemoryPool::takes(const ports::DiskSource& source) const {
    return source.type == "file" && source.format == "raw";
}

ports::DiskSource MemoryPool::outline(const VolumeId& id) const {
    return {"file", "raw", "/" + id.text()};
}

Result<ports::Capacity> MemoryPool::capacity() {
    const std::lock_guard lock(state_->mutex);
    const auto used = state_->used_bytes();
    const auto total = state_->capacity_bytes;
    return ports::Capacity{.total = ByteSize(total),
                           .free = ByteSize(total - std::min(total, used))};
}

Result<ports::AdoptedVolume> MemoryPool::adopt(const VolumeId& id, const ports::VolumeLabel& label,
                                               const ports::DiskSource& source) {
    const std::lock_guard lock(state_->mutex);
    if (const auto found = state_->volumes.find(id); found != state_->volumes.end()) {
        auto& volume = found->second;
        // The caller says which disk the VM has. That decides whether a merge took place.
        if (volume.merge && volume.at(volume.merge->top)->role == Role::head) {
            if (source.location == volume.merge->top)
                volume.merge.reset();
            else if (source.location == volume.merge->base && volume.merge->done)
                volume.finish_merge(Merge(*volume.merge));
        }
        const auto* head = volume.find(Role::head);
        if (head && source_of(*head) == source)
            return ports::AdoptedVolume{.source = source, .size = head->size};
        return fail(ErrorKind::conflict, fmt::format("volume {} exists and {} is not its head",
                                                     id.text(), source.location));
    }
    if (source.type != "file" || source.format != "raw")
        return fail(ErrorKind::unsupported,
                    fmt::format("disk {} is of type '{}' and format '{}'", source.location,
                                source.type, source.format));
    auto disk = UNDERSTUDY_VALUE(state_->disk(source.location));
    if (disk.holder)
        return fail(ErrorKind::conflict, source.location + " is part of another volume already");
    Volume volume;
    volume.label = label;
    volume.in_place = state_->in_place;
    volume.layers.push_back(std::move(*disk.layer));
    volume.layers.front().role = Role::head;
    const auto size = volume.layers.front().size;
    state_->user_disks.erase(source.location);
    state_->volumes.emplace(id, std::move(volume));
    return ports::AdoptedVolume{.source = source, .size = size};
}

// An adopted disk is the user's again. Without remove_data the head becomes a whole disk of the
// user's, too.
Result<> MemoryPool::forget(const VolumeId& id, bool remove_data) {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->volumes.find(id);
    if (found == state_->volumes.end()) return {};
    auto& volume = found->second;
    for (auto& layer : volume.layers) {
        const bool kept_head = layer.role == Role::head && !remove_data;
        if (!layer.adopted && !kept_head) continue;
        Layer kept;
        kept.location = layer.location;
        kept.adopted = true;
        kept.size = layer.size;
        if (layer.parent.empty()) {
            kept.content = layer.content;
        } else {
            const auto view = volume.view(layer);
            for (auto below = view.rbegin(); below != view.rend(); ++below)
                kept.content->put_on_top(*below->content);
            kept.content->cut(kept.size);
        }
        state_->user_disks.insert_or_assign(layer.location, std::move(kept));
    }
    state_->volumes.erase(found);
    return {};
}

Result<bool> MemoryPool::knows(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    return state_->volumes.contains(id);
}

Result<std::optional<ports::DiskSource>> MemoryPool::head(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* head = volume->find(Role::head);
    if (!head) return std::nullopt;
    return source_of(*head);
}

Result<std::vector<SnapshotId>> MemoryPool::snapshots(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    std::vector<SnapshotId> ids;
    for (const auto& layer : volume->layers)
        if (layer.role == Role::snapshot) ids.push_back(layer.snapshot);
    return ids;
}

Result<ports::SnapshotStat> MemoryPool::stat(const VolumeId& id, const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* layer = volume->find(Role::snapshot, snapshot);
    if (!layer) return no_snapshot(id, snapshot);
    return ports::SnapshotStat{.size = layer->size,
                               .own = ByteSize(layer->content->data_blocks * kBlockBytes)};
}

Result<std::unique_ptr<ports::Reader>> MemoryPool::open_snapshot(const VolumeId& id,
                                                                 const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* layer = volume->find(Role::snapshot, snapshot);
    if (!layer) return no_snapshot(id, snapshot);
    return std::make_unique<ViewReader>(volume->view(*layer));
}

Result<std::unique_ptr<ports::ExtentStream>> MemoryPool::changes(const VolumeId& id,
                                                                 std::optional<SnapshotId> base,
                                                                 const SnapshotId& until,
                                                                 ByteOffset from) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    const auto* top = volume->find(Role::snapshot, until);
    if (!top) return no_snapshot(id, until);
    auto view = volume->view(*top);
    if (!base) {
        const auto layers = view.size();
        return view_extents(std::move(view), layers, from, false);
    }
    const auto* bottom = volume->find(Role::snapshot, *base);
    if (!bottom || !volume->is_above(*top, *bottom))
        return fail(ErrorKind::conflict, fmt::format("snapshot {} is not an ancestor of {} here",
                                                     base->text(), until.text()));
    const auto layers = view.size() - volume->view(*bottom).size();
    return view_extents(std::move(view), layers, from, true);
}

}  // namespace understudy::memory
