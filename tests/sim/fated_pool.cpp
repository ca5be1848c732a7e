#include "fated_pool.hpp"

namespace understudy::sim {
namespace {

class FatedIncoming final : public ports::Incoming {
public:
    FatedIncoming(std::unique_ptr<ports::Incoming> real, Fate& fate)
        : real_(std::move(real)), fate_(fate) {}

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        return fated(fate_, "incoming.write", [&] { return real_->write(offset, data); });
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        return fated(fate_, "incoming.zero", [&] { return real_->zero(offset, length); });
    }
    Result<> flush() override {
        return fated(fate_, "incoming.flush", [&] { return real_->flush(); });
    }
    Result<> publish() override {
        return fated(fate_, "incoming.publish", [&] { return real_->publish(); });
    }
    Result<> discard() override {
        return fated(fate_, "incoming.discard", [&] { return real_->discard(); });
    }

private:
    std::unique_ptr<ports::Incoming> real_;
    Fate& fate_;
};

class FatedReader final : public ports::Reader {
public:
    FatedReader(std::unique_ptr<ports::Reader> real, Fate& fate)
        : real_(std::move(real)), fate_(fate) {}

    ByteSize size() const override { return real_->size(); }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        return fated(fate_, "reader.read", [&] { return real_->read(offset, into); });
    }
    void prefetch(ByteOffset offset, ByteSize length) override { real_->prefetch(offset, length); }

private:
    std::unique_ptr<ports::Reader> real_;
    Fate& fate_;
};

}  // namespace

Result<ports::Capacity> FatedPool::capacity() {
    return fated(fate_, "pool.capacity", [&] { return real_.capacity(); });
}

Result<ByteSize> FatedPool::disk_size(const ports::DiskSource& source) {
    return fated(fate_, "pool.disk_size", [&] { return real_.disk_size(source); });
}

Result<ports::AdoptedVolume> FatedPool::adopt(const VolumeId& volume,
                                              const ports::VolumeLabel& label,
                                              const ports::DiskSource& source) {
    return fated(fate_, "pool.adopt", [&] { return real_.adopt(volume, label, source); });
}

Result<> FatedPool::forget(const VolumeId& volume, bool remove_data) {
    return fated(fate_, "pool.forget", [&] { return real_.forget(volume, remove_data); });
}

Result<bool> FatedPool::knows(const VolumeId& volume) {
    return fated(fate_, "pool.knows", [&] { return real_.knows(volume); });
}

Result<std::optional<ports::DiskSource>> FatedPool::head(const VolumeId& volume) {
    return fated(fate_, "pool.head", [&] { return real_.head(volume); });
}

Result<std::vector<SnapshotId>> FatedPool::snapshots(const VolumeId& volume) {
    return fated(fate_, "pool.snapshots", [&] { return real_.snapshots(volume); });
}

Result<ports::SnapshotStat> FatedPool::stat(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.stat", [&] { return real_.stat(volume, id); });
}

Result<ports::DiskSource> FatedPool::prepare_snapshot(const VolumeId& volume, const SnapshotId& id,
                                                      ByteSize size) {
    return fated(fate_, "pool.prepare_snapshot", [&] {
        auto made = real_.prepare_snapshot(volume, id, size);
        if (made && features().live_overlay) locations_.prepared[made->location] = id;
        return made;
    });
}

Result<> FatedPool::take_snapshot(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.take_snapshot", [&]() -> Result<> {
        UNDERSTUDY_TRY(real_.take_snapshot(volume, id));
        const auto head = real_.head(volume);
        if (head && *head && !features().live_overlay) locations_.taken((*head)->location, id);
        return {};
    });
}

Result<bool> FatedPool::snapshot_taken(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.snapshot_taken", [&] { return real_.snapshot_taken(volume, id); });
}

Result<> FatedPool::commit_snapshot(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.commit_snapshot", [&] { return real_.commit_snapshot(volume, id); });
}

Result<bool> FatedPool::overlay_written(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.overlay_written", [&] { return real_.overlay_written(volume, id); });
}

Result<std::string> FatedPool::set_aside(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.set_aside", [&] { return real_.set_aside(volume, id); });
}

Result<> FatedPool::cancel_snapshot(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.cancel_snapshot", [&] {
        auto cancelled = real_.cancel_snapshot(volume, id);
        if (cancelled && !features().live_overlay) locations_.cancelled(id);
        return cancelled;
    });
}

Result<std::unique_ptr<ports::Reader>> FatedPool::open_snapshot(const VolumeId& volume,
                                                                const SnapshotId& id) {
    return fated(fate_, "pool.open_snapshot", [&]() -> Result<std::unique_ptr<ports::Reader>> {
        auto reader = real_.open_snapshot(volume, id);
        if (!reader) return reader;
        return std::make_unique<FatedReader>(std::move(*reader), fate_);
    });
}

Result<std::unique_ptr<ports::ExtentStream>> FatedPool::changes(const VolumeId& volume,
                                                                std::optional<SnapshotId> base,
                                                                const SnapshotId& until,
                                                                ByteOffset from) {
    return fated(fate_, "pool.changes", [&] { return real_.changes(volume, base, until, from); });
}

Result<std::unique_ptr<ports::Incoming>> FatedPool::receive(const VolumeId& volume,
                                                            const ports::VolumeLabel& label,
                                                            std::optional<SnapshotId> base,
                                                            const SnapshotId& id, ByteSize size) {
    return fated(fate_, "pool.receive", [&]() -> Result<std::unique_ptr<ports::Incoming>> {
        auto incoming = real_.receive(volume, label, base, id, size);
        if (!incoming) return incoming;
        return std::make_unique<FatedIncoming>(std::move(*incoming), fate_);
    });
}

Result<std::unique_ptr<ports::Incoming>> FatedPool::mend(const VolumeId& volume,
                                                         const SnapshotId& id) {
    return fated(fate_, "pool.mend", [&]() -> Result<std::unique_ptr<ports::Incoming>> {
        auto incoming = real_.mend(volume, id);
        if (!incoming) return incoming;
        return std::make_unique<FatedIncoming>(std::move(*incoming), fate_);
    });
}

Result<std::optional<ports::LiveMerge>> FatedPool::plan_removal(const VolumeId& volume,
                                                                const SnapshotId& id) {
    return fated(fate_, "pool.plan_removal", [&] { return real_.plan_removal(volume, id); });
}

Result<> FatedPool::finish_removal(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.finish_removal", [&] { return real_.finish_removal(volume, id); });
}

Result<> FatedPool::remove_snapshot(const VolumeId& volume, const SnapshotId& id) {
    return fated(fate_, "pool.remove_snapshot", [&] { return real_.remove_snapshot(volume, id); });
}

Result<ports::DiskSource> FatedPool::activate(const VolumeId& volume, const SnapshotId& id,
                                              ports::ActivationKind kind) {
    return fated(fate_, "pool.activate", [&] {
        const bool goes_back =
            kind == ports::ActivationKind::promote && real_.is_rolling_back(volume);
        auto head = real_.activate(volume, id, kind);
        if (head && goes_back)
            locations_.taken_back(head->location, id);
        else if (head)
            locations_.activated[head->location] = id;
        return head;
    });
}

Result<> FatedPool::deactivate(const VolumeId& volume, const ports::DiskSource& source) {
    return fated(fate_, "pool.deactivate", [&] { return real_.deactivate(volume, source); });
}

Result<bool> FatedPool::head_equals(const VolumeId& volume, const SnapshotId& on) {
    return fated(fate_, "pool.head_equals", [&] { return real_.head_equals(volume, on); });
}

Result<std::optional<ByteSize>> FatedPool::head_own(const VolumeId& volume, const SnapshotId& on) {
    return fated(fate_, "pool.head_own", [&] { return real_.head_own(volume, on); });
}

Result<> FatedPool::retire_head(const VolumeId& volume, const SnapshotId& on) {
    return fated(fate_, "pool.retire_head", [&] { return real_.retire_head(volume, on); });
}

}  // namespace understudy::sim
