#include "storage/memory/pool.hpp"
#include "storage/memory/pool_state.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

// Receives a snapshot into a memory pool. receive() begins a layer, or goes on with the one that is
// there, and notes that nobody else may receive this snapshot now. write() and zero() go to
// `unsynced`, flush() moves that into the layer, publish() flushes and makes the layer a snapshot.
// crash() drops `unsynced`: what was flushed stays, an Incoming from before answers `unavailable`,
// and receive() is called again. Every call holds the pool's mutex.

namespace understudy::memory {
namespace {

class MemoryIncoming : public ports::Incoming {
public:
    MemoryIncoming(std::shared_ptr<PoolState> state, VolumeId volume, SnapshotId id, bool claimed)
        : state_(std::move(state)),
          volume_(volume),
          id_(id),
          born_(state_->power_cycles),
          claimed_(claimed) {}
    ~MemoryIncoming() override {
        const std::lock_guard lock(state_->mutex);
        release();
    }
    MemoryIncoming(const MemoryIncoming&) = delete;
    MemoryIncoming& operator=(const MemoryIncoming&) = delete;

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        const std::lock_guard lock(state_->mutex);
        auto layer = UNDERSTUDY_VALUE(open_layer(offset, data.size()));
        UNDERSTUDY_TRY(state_->check_room((data.size() + kBlockBytes - 1) / kBlockBytes));
        for (auto number = offset.count() / kBlockBytes; !data.empty(); ++number) {
            auto block = std::make_shared<Block>();
            block->fill(std::byte{0});
            const auto length = std::min<std::size_t>(data.size(), kBlockBytes);
            std::memcpy(block->data(), data.data(), length);
            layer->unsynced.set(number, std::move(block));
            data = data.subspan(length);
        }
        return {};
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        const std::lock_guard lock(state_->mutex);
        auto layer = UNDERSTUDY_VALUE(open_layer(offset, length.count()));
        const auto end = offset + length;
        for (auto at = offset.count(); at < end.count(); at += kBlockBytes)
            layer->unsynced.set(at / kBlockBytes, nullptr);
        return {};
    }
    Result<> flush() override {
        const std::lock_guard lock(state_->mutex);
        auto layer = UNDERSTUDY_VALUE(open_layer({}, 0));
        flush(*layer);
        return {};
    }
    Result<> publish() override {
        const std::lock_guard lock(state_->mutex);
        if (born_ == state_->power_cycles && is_published()) return {};
        auto layer = UNDERSTUDY_VALUE(open_layer({}, 0));
        flush(*layer);
        layer->role = Role::snapshot;
        layer->base = {};
        release();
        return {};
    }
    Result<> discard() override {
        const std::lock_guard lock(state_->mutex);
        const auto found = state_->volumes.find(volume_);
        if (found == state_->volumes.end()) return {};
        if (is_published())
            return fail(
                Error(ErrorKind::conflict, "snapshot " + id_.text() + " is published already")
                    .advising("Remove it as a snapshot."));
        if (const auto* layer = found->second.find(Role::incoming, id_)) {
            UNDERSTUDY_TRY(check_power());
            found->second.remove(std::string(layer->location));
        }
        found->second.prune();
        if (found->second.layers.empty()) state_->volumes.erase(found);
        release();
        return {};
    }

private:
    bool is_published() {
        const auto found = state_->volumes.find(volume_);
        return found != state_->volumes.end() && found->second.find(Role::snapshot, id_);
    }
    Result<> check_power() const {
        if (born_ == state_->power_cycles) return {};
        return fail(ErrorKind::unavailable, "pool '" + state_->name + "' was restarted");
    }
    Result<Layer*> open_layer(ByteOffset offset, std::uint64_t length) {
        UNDERSTUDY_TRY(check_power());
        const auto found = state_->volumes.find(volume_);
        auto* layer =
            found == state_->volumes.end() ? nullptr : found->second.find(Role::incoming, id_);
        if (!layer && is_published())
            return fail(ErrorKind::conflict, "snapshot " + id_.text() + " is published already");
        if (!layer)
            return fail(ErrorKind::not_found,
                        "what was received of snapshot " + id_.text() + " was discarded");
        const auto size = layer->size.count();
        const auto end = offset.count() + length;
        if (offset.count() % kBlockBytes != 0 || offset.count() > size || length > size ||
            end > size || (end % kBlockBytes != 0 && end != size))
            return fail(ErrorKind::invalid,
                        fmt::format("{} bytes at {} are off the grid or beyond the disk's {}",
                                    length, offset.count(), size));
        return layer;
    }
    static void flush(Layer& layer) {
        layer.own_content().put_on_top(layer.unsynced);
        layer.unsynced = {};
    }
    void release() {  // under the mutex
        if (born_ == state_->power_cycles && std::exchange(claimed_, false))
            state_->receiving.erase({volume_, id_});
    }

    const std::shared_ptr<PoolState> state_;
    const VolumeId volume_;
    const SnapshotId id_;
    const std::uint64_t born_;
    bool claimed_;  // nobody else may receive the snapshot
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> MemoryPool::receive(const VolumeId& id,
                                                             const ports::VolumeLabel& label,
                                                             std::optional<SnapshotId> base,
                                                             const SnapshotId& snapshot,
                                                             ByteSize size) {
    const std::lock_guard lock(state_->mutex);
    if (state_->receiving.contains({id, snapshot}))
        return fail(ErrorKind::unavailable,
                    "snapshot " + snapshot.text() + " is being received by someone else right now");
    const auto open = [&] {
        state_->receiving.insert({id, snapshot});
        return std::make_unique<MemoryIncoming>(state_, id, snapshot, true);
    };
    const auto found = state_->volumes.find(id);
    if (base && (found == state_->volumes.end()))
        return fail(ErrorKind::conflict, "no volume " + id.text() + " to build on");
    if (found != state_->volumes.end()) {
        auto& volume = found->second;
        if (const auto* layer = volume.find(Role::snapshot, snapshot)) {
            if (layer->size == size)
                return std::make_unique<MemoryIncoming>(state_, id, snapshot, false);
            return fail(ErrorKind::conflict,
                        "snapshot " + snapshot.text() + " exists here with another size");
        }
        if (volume.find(Role::prepared, snapshot))
            return fail(ErrorKind::conflict, "snapshot " + snapshot.text() + " is being taken");
        if (const auto* layer = volume.find(Role::incoming, snapshot)) {
            if (layer->base == base.value_or(SnapshotId()) && layer->size == size) return open();
            return fail(Error(ErrorKind::conflict,
                              fmt::format("snapshot {} is being received on {} with {} bytes",
                                          snapshot.text(), layer->base.text(), layer->size.count()))
                            .advising("Go on with those, or discard what is there."));
        }
    }
    const Layer* below = base ? found->second.find(Role::snapshot, *base) : nullptr;
    if (base && !below)
        return fail(ErrorKind::conflict, fmt::format("volume {} has no snapshot {} to build on",
                                                     id.text(), base->text()));
    if (below && found->second.merge && found->second.merge->top == below->location)
        return fail(ErrorKind::unavailable, "snapshot " + base->text() + " is being merged");
    auto& volume = found != state_->volumes.end() ? found->second : state_->volumes[id];
    volume.in_place = state_->in_place;
    if (volume.layers.empty()) volume.label = label;
    Layer layer;
    layer.location = state_->new_location(id);
    layer.parent = below ? below->location : std::string();
    layer.size = size;
    layer.role = Role::incoming;
    layer.snapshot = snapshot;
    layer.base = base.value_or(SnapshotId());
    volume.layers.push_back(std::move(layer));
    return open();
}

}  // namespace understudy::memory
