// The outside world of a memory pool: disks, guests, merges, power loss, the medium's size.
#include "storage/memory/pool.hpp"
#include "storage/memory/pool_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace understudy::memory {
namespace {

std::uint64_t bytes_in(const Layer& layer) {
    return (layer.content->data_blocks + layer.unsynced.data_blocks) * kBlockBytes;
}

std::shared_ptr<Block> block_of(const Disk& disk, std::uint64_t number) {
    const auto view = disk.view();
    auto block = std::make_shared<Block>();
    block->fill(std::byte{0});
    const auto at = number * kBlockBytes;
    const auto length = std::min(kBlockBytes, view.front().size.count() - at);
    read_view(view, ByteOffset(at), std::span(*block).first(length));
    return block;
}

Result<> check_range(const Layer& layer, ByteOffset offset, std::uint64_t length) {
    if (offset.count() <= layer.size.count() && length <= layer.size.count() - offset.count())
        return {};
    return fail(ErrorKind::invalid, fmt::format("{} bytes at {} lie beyond the end of {}", length,
                                                offset.count(), layer.location));
}

// Applies `change(block, within, length)` to each block of the range; nothing: a whole zero block.
template <class Change>
void change_blocks(const Disk& disk, std::uint64_t at, std::uint64_t length, bool to_zero,
                   Change change) {
    auto& content = disk.layer->own_content();
    disk.layer->written = true;
    const auto end = at + length;
    while (at < end) {
        const auto within = at % kBlockBytes;
        const auto piece = std::min(end - at, kBlockBytes - within);
        if (to_zero && piece == kBlockBytes) {
            content.set(at / kBlockBytes, nullptr);
        } else {
            auto block = block_of(disk, at / kBlockBytes);
            change(block->data() + within, piece);
            content.set(at / kBlockBytes, std::move(block));
        }
        at += piece;
    }
}

}  // namespace

std::uint64_t PoolState::used_bytes() const {
    std::uint64_t used = 0;
    for (const auto& [location, layer] : user_disks) used += bytes_in(layer);
    for (const auto& [id, volume] : volumes)
        for (const auto& layer : volume.layers) used += bytes_in(layer);
    return used;
}

Result<> PoolState::check_room(std::uint64_t blocks) const {
    const auto used = used_bytes();
    const auto free = capacity_bytes > used ? capacity_bytes - used : 0;
    if (blocks * kBlockBytes <= free) return {};
    return fail(Error(ErrorKind::no_space, fmt::format("pool '{}' is full", name))
                    .advising(fmt::format("{} needed, {} free; make room and repeat.",
                                          base::format_size(ByteSize(blocks * kBlockBytes)),
                                          base::format_size(ByteSize(free)))));
}

View Disk::view() const {
    return holder ? holder->view(*layer) : View{{layer->content, layer->size}};
}

Result<Disk> PoolState::disk(const std::string& location) {
    if (const auto found = user_disks.find(location); found != user_disks.end())
        return Disk{.layer = &found->second, .holder = nullptr};
    for (auto& [id, volume] : volumes)
        if (auto* layer = volume.at(location)) return Disk{.layer = layer, .holder = &volume};
    return fail(ErrorKind::not_found, "no disk " + location);
}

Result<Disk> PoolState::writable(const std::string& location) {
    auto found = disk(location);
    if (found && found->holder && !found->holder->is_writable(*found->layer))
        return fail(ErrorKind::conflict, location + " is frozen");
    return found;
}

ports::DiskSource MemoryPool::create_disk(const std::string& location, ByteSize size) {
    const std::lock_guard lock(state_->mutex);
    Layer layer;
    layer.location = location;
    layer.adopted = true;
    layer.size = size;
    const auto source = source_of(layer);
    state_->user_disks.insert_or_assign(location, std::move(layer));
    return source;
}

Result<> MemoryPool::write_disk(const std::string& location, ByteOffset offset,
                                std::span<const std::byte> data) {
    const std::lock_guard lock(state_->mutex);
    auto disk = UNDERSTUDY_VALUE(state_->writable(location));
    UNDERSTUDY_TRY(check_range(*disk.layer, offset, data.size()));
    UNDERSTUDY_TRY(state_->check_room((data.size() + kBlockBytes - 1) / kBlockBytes));
    change_blocks(disk, offset.count(), data.size(), false,
                  [&](std::byte* into, std::uint64_t length) {
                      std::memcpy(into, data.data(), length);
                      data = data.subspan(length);
                  });
    return {};
}

Result<> MemoryPool::trim_disk(const std::string& location, ByteOffset offset, ByteSize length) {
    const std::lock_guard lock(state_->mutex);
    auto disk = UNDERSTUDY_VALUE(state_->writable(location));
    UNDERSTUDY_TRY(check_range(*disk.layer, offset, length.count()));
    change_blocks(disk, offset.count(), length.count(), true,
                  [](std::byte* into, std::uint64_t piece) { std::memset(into, 0, piece); });
    return {};
}

Result<> MemoryPool::resize_disk(const std::string& location, ByteSize size) {
    const std::lock_guard lock(state_->mutex);
    auto disk = UNDERSTUDY_VALUE(state_->writable(location));
    if (size < disk.layer->size) disk.layer->own_content().cut(size);
    disk.layer->size = size;
    disk.layer->written = true;
    return {};
}

Result<> MemoryPool::read_disk(const std::string& location, ByteOffset offset,
                               std::span<std::byte> into) {
    const std::lock_guard lock(state_->mutex);
    auto disk = UNDERSTUDY_VALUE(state_->disk(location));
    UNDERSTUDY_TRY(check_range(*disk.layer, offset, into.size()));
    read_view(disk.view(), offset, into);
    return {};
}

Result<ByteSize> MemoryPool::disk_size(const std::string& location) {
    const std::lock_guard lock(state_->mutex);
    auto disk = UNDERSTUDY_VALUE(state_->disk(location));
    return disk.layer->size;
}

Result<> MemoryPool::write_head(const VolumeId& id, ByteOffset offset,
                                std::span<const std::byte> data) {
    auto source = UNDERSTUDY_VALUE(head(id));
    if (!source) return fail(ErrorKind::conflict, "volume " + id.text() + " has no head");
    return write_disk(source->location, offset, data);
}

Result<> MemoryPool::perform_merge(const ports::LiveMerge& merge) {
    const std::lock_guard lock(state_->mutex);
    for (auto& [id, volume] : state_->volumes) {
        if (!volume.merge || volume.merge->base != merge.base || volume.merge->top != merge.top)
            continue;
        if (volume.merge->done) return {};
        UNDERSTUDY_TRY(state_->check_room(volume.at(merge.top)->content->data_blocks));
        volume.merge_content(*volume.merge);
        volume.merge->done = true;
        return {};
    }
    // Recorded already, if only the base is left.
    if (state_->disk(merge.base) && !state_->disk(merge.top)) return {};
    return fail(ErrorKind::conflict, "no merge of " + merge.top + " is planned");
}

Result<> MemoryPool::commit_back(const std::string& base, const std::string& top) {
    const std::lock_guard lock(state_->mutex);
    for (auto& [id, volume] : state_->volumes) {
        const auto* above = volume.at(top);
        if (!above || above->parent != base) continue;
        volume.merge_content({.base = base, .top = top, .done = false});
        return {};
    }
    return fail(ErrorKind::conflict, fmt::format("{} is not right above {}", top, base));
}

void MemoryPool::crash() {
    const std::lock_guard lock(state_->mutex);
    ++state_->power_cycles;
    state_->receiving.clear();
    for (auto& [id, volume] : state_->volumes)
        for (auto& layer : volume.layers) layer.unsynced = {};
}

void MemoryPool::set_capacity(ByteSize total) {
    const std::lock_guard lock(state_->mutex);
    state_->capacity_bytes = total.count();
}

std::vector<std::string> MemoryPool::traces(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    std::vector<std::string> lines;
    const auto found = state_->volumes.find(id);
    if (found == state_->volumes.end()) return lines;
    for (const auto& layer : found->second.layers) lines.push_back(layer.location);
    return lines;
}

std::vector<VolumeId> MemoryPool::volumes() {
    const std::lock_guard lock(state_->mutex);
    std::vector<VolumeId> ids;
    for (const auto& [id, volume] : state_->volumes) ids.push_back(id);
    return ids;
}

std::vector<std::string> MemoryPool::unfinished(const VolumeId& id) {
    const std::lock_guard lock(state_->mutex);
    std::vector<std::string> lines;
    const auto found = state_->volumes.find(id);
    if (found == state_->volumes.end()) return lines;
    for (const auto& layer : found->second.layers)
        if (layer.role == Role::incoming || layer.role == Role::prepared ||
            layer.role == Role::successor || layer.role == Role::drill)
            lines.push_back(layer.location);
    return lines;
}

}  // namespace understudy::memory
