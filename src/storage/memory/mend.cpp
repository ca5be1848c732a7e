#include "storage/memory/pool.hpp"
#include "storage/memory/pool_state.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

// Repairs the content of a frozen layer. The Incoming collects blocks by itself; publish() checks
// again that no VM or drill is above the layer and that there is room, and then lays the blocks
// over it, at once, under the pool's mutex. If crash() comes before that, nothing of the mend is
// left. flip_bit, for tests, damages a frozen layer.

namespace understudy::memory {
namespace {

Result<Layer*> mendable(PoolState& state, const VolumeId& id, const SnapshotId& snapshot) {
    auto volume = UNDERSTUDY_VALUE(state.volume(id));
    auto* layer = volume->find(Role::snapshot, snapshot);
    if (!layer) return no_snapshot(id, snapshot);
    for (const auto& other : volume->layers) {
        const bool used = other.role == Role::head || other.role == Role::drill ||
                          other.role == Role::successor || other.role == Role::prepared;
        if (used && volume->is_above(other, *layer))
            return fail(ErrorKind::refused,
                        "a VM or a rehearsal is on snapshot " + snapshot.text());
    }
    return layer;
}

// Before publish() the layer holds nothing of it.
class MemoryMending : public ports::Incoming {
public:
    MemoryMending(std::shared_ptr<PoolState> state, VolumeId volume, SnapshotId id, ByteSize size)
        : state_(std::move(state)),
          volume_(volume),
          id_(id),
          size_(size),
          born_(state_->power_cycles) {}

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        UNDERSTUDY_TRY(check_range(offset, ByteSize(data.size())));
        for (auto number = offset.count() / kBlockBytes; !data.empty(); ++number) {
            auto block = std::make_shared<Block>();
            block->fill(std::byte{0});
            const auto length = std::min<std::size_t>(data.size(), kBlockBytes);
            std::memcpy(block->data(), data.data(), length);
            mended_.set(number, std::move(block));
            data = data.subspan(length);
        }
        return {};
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        UNDERSTUDY_TRY(check_range(offset, length));
        for (auto at = offset.count(); at < (offset + length).count(); at += kBlockBytes)
            mended_.set(at / kBlockBytes, nullptr);
        return {};
    }
    Result<> flush() override { return {}; }
    Result<> publish() override {
        const std::lock_guard lock(state_->mutex);
        if (born_ != state_->power_cycles)
            return fail(ErrorKind::unavailable, "pool '" + state_->name + "' was restarted");
        UNDERSTUDY_TRY(state_->check_room(mended_.data_blocks));
        auto layer = UNDERSTUDY_VALUE(mendable(*state_, volume_, id_));
        layer->own_content().put_on_top(mended_);
        return {};
    }
    Result<> discard() override {
        mended_ = {};
        return {};
    }

private:
    Result<> check_range(ByteOffset offset, ByteSize length) const {
        const auto end = offset.count() + length.count();
        if (offset.count() % kBlockBytes == 0 && end <= size_.count() &&
            (end % kBlockBytes == 0 || end == size_.count()))
            return {};
        return fail(ErrorKind::invalid, "off the grid or beyond the disk's end");
    }

    const std::shared_ptr<PoolState> state_;
    const VolumeId volume_;
    const SnapshotId id_;
    const ByteSize size_;
    const std::uint64_t born_;
    Content mended_;
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> MemoryPool::mend(const VolumeId& id,
                                                          const SnapshotId& snapshot) {
    const std::lock_guard lock(state_->mutex);
    auto layer = UNDERSTUDY_VALUE(mendable(*state_, id, snapshot));
    return std::make_unique<MemoryMending>(state_, id, snapshot, layer->size);
}

Result<> MemoryPool::flip_bit(const VolumeId& id, const SnapshotId& snapshot, ByteOffset offset) {
    const std::lock_guard lock(state_->mutex);
    auto volume = UNDERSTUDY_VALUE(state_->volume(id));
    auto* layer = volume->find(Role::snapshot, snapshot);
    if (!layer || offset.count() >= layer->size.count()) return no_snapshot(id, snapshot);
    const auto number = offset.count() / kBlockBytes;
    auto block = std::make_shared<Block>();
    block->fill(std::byte{0});
    const auto at = number * kBlockBytes;
    const auto length = std::min<std::uint64_t>(kBlockBytes, layer->size.count() - at);
    read_view(volume->view(*layer), ByteOffset(at), std::span(*block).first(length));
    (*block)[offset.count() % kBlockBytes] ^= std::byte{1};
    layer->own_content().set(number, std::move(block));
    return {};
}

}  // namespace understudy::memory
