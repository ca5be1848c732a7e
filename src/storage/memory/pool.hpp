#pragma once

#include "ports/storage.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace understudy::memory {

struct PoolState;

// A pool in RAM for simulations and tests, with the durability of a real one: what was written to
// an Incoming without a completed flush() is gone after crash(). Deterministic: no clock, no
// randomness; the same calls give the same locations, orders and errors. Thread-safe.
//
// The part below StoragePool is the outside world of a pool: the user's disks, guests, the
// hypervisor's merge, power loss, the size of the medium. Locations are those in DiskSource.
class MemoryPool : public ports::StoragePool {
public:
    // Whether a snapshot gives the VM a new head (as qcow2's layers do) or leaves it on the one it
    // has (as RBD's images do).
    enum class Heads { move_on, stay_in_place };

    explicit MemoryPool(std::string name, Heads heads = Heads::move_on);
    ~MemoryPool() override;

    // A user's disk (format "raw") that adopt() takes; all zeroes. It counts as used room.
    ports::DiskSource create_disk(const std::string& location, ByteSize size);
    // A guest's access to a writable disk: a user's own, a head, a drill's or a prepared overlay.
    // Durable at once. Any alignment. conflict: not writable. not_found: no such disk.
    Result<> write_disk(const std::string& location, ByteOffset offset,
                        std::span<const std::byte> data);
    Result<> trim_disk(const std::string& location, ByteOffset offset, ByteSize length);
    Result<> resize_disk(const std::string& location, ByteSize size);
    Result<> read_disk(const std::string& location, ByteOffset offset, std::span<std::byte> into);
    Result<ByteSize> disk_size(const std::string& location);
    Result<> write_head(const VolumeId&, ByteOffset offset, std::span<const std::byte> data);
    // What a hypervisor does about a planned removal: afterwards the base holds top's content, and
    // if top was the head, the guest writes to the base. Idempotent.
    Result<> perform_merge(const ports::LiveMerge& merge);

    // What a hypervisor does about a switch that it has no record of: `base` has all that was
    // written to `top` as well, which keeps it. conflict: they are not two such layers.
    Result<> commit_back(const std::string& base, const std::string& top);

    // Power loss: unflushed bytes are gone, every Incoming from before answers `unavailable`.
    void crash();
    // A medium that loses a bit of a frozen disk, as all that shows it then sees it.
    Result<> flip_bit(const VolumeId&, const SnapshotId&, ByteOffset);
    void set_capacity(ByteSize total);  // no_space once that much is in use; unlimited at first
    // What the pool holds for a volume, one line per layer, for comparing before and after.
    std::vector<std::string> traces(const VolumeId&);
    std::vector<VolumeId> volumes();
    // Those of its layers that are being received or prepared.
    std::vector<std::string> unfinished(const VolumeId&);

    const std::string& name() const override;
    std::string driver() const override { return "memory"; }
    // In place: what is to be thrown away by the activation that settles a rollback.
    bool is_rolling_back(const VolumeId&);
    bool takes(const ports::DiskSource&) const override;
    ports::DiskSource outline(const VolumeId&) const override;
    ports::StorageFeatures features() const override;
    Result<ports::Capacity> capacity() override;
    Result<ByteSize> disk_size(const ports::DiskSource& source) override {
        return disk_size(source.location);
    }
    Result<ports::AdoptedVolume> adopt(const VolumeId&, const ports::VolumeLabel&,
                                       const ports::DiskSource&) override;
    Result<> forget(const VolumeId&, bool remove_data) override;
    Result<bool> knows(const VolumeId&) override;
    Result<std::optional<ports::DiskSource>> head(const VolumeId&) override;
    Result<std::vector<SnapshotId>> snapshots(const VolumeId&) override;
    Result<ports::SnapshotStat> stat(const VolumeId&, const SnapshotId&) override;
    Result<ports::DiskSource> prepare_snapshot(const VolumeId&, const SnapshotId& id,
                                               ByteSize size) override;
    Result<> take_snapshot(const VolumeId&, const SnapshotId& id) override;
    Result<bool> snapshot_taken(const VolumeId&, const SnapshotId& id) override;
    Result<bool> overlay_written(const VolumeId&, const SnapshotId& id) override;
    Result<std::string> set_aside(const VolumeId&, const SnapshotId& id) override;
    Result<> commit_snapshot(const VolumeId&, const SnapshotId& id) override;
    Result<> cancel_snapshot(const VolumeId&, const SnapshotId& id) override;
    Result<std::unique_ptr<ports::Reader>> open_snapshot(const VolumeId&,
                                                         const SnapshotId&) override;
    Result<std::unique_ptr<ports::ExtentStream>> changes(const VolumeId&,
                                                         std::optional<SnapshotId> base,
                                                         const SnapshotId& until,
                                                         ByteOffset from) override;
    Result<std::unique_ptr<ports::Incoming>> receive(const VolumeId&, const ports::VolumeLabel&,
                                                     std::optional<SnapshotId> base,
                                                     const SnapshotId& id, ByteSize size) override;
    Result<std::unique_ptr<ports::Incoming>> mend(const VolumeId&, const SnapshotId&) override;
    Result<std::optional<ports::LiveMerge>> plan_removal(const VolumeId&,
                                                         const SnapshotId&) override;
    Result<> finish_removal(const VolumeId&, const SnapshotId&) override;
    Result<> remove_snapshot(const VolumeId&, const SnapshotId&) override;
    Result<ports::DiskSource> activate(const VolumeId&, const SnapshotId&,
                                       ports::ActivationKind) override;
    Result<> deactivate(const VolumeId&, const ports::DiskSource&) override;
    Result<bool> head_equals(const VolumeId&, const SnapshotId& on) override;
    Result<std::optional<ByteSize>> head_own(const VolumeId&, const SnapshotId& on) override;
    Result<> retire_head(const VolumeId&, const SnapshotId& on) override;

private:
    std::shared_ptr<PoolState> state_;
};

}  // namespace understudy::memory
