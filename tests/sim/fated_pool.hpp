#pragma once

#include "fate.hpp"
#include "storage/memory/pool.hpp"

#include <functional>
#include <map>

namespace understudy::sim {

// Which snapshot a location was made for: what a checker needs to know what a disk must hold.
struct Locations {
    std::map<std::string, SnapshotId> prepared;   // the future head of a snapshot being taken
    std::map<std::string, SnapshotId> activated;  // a head on this snapshot
    // Told when a head that stays in place was snapshotted, or went back to a snapshot.
    std::function<void(const std::string& location, const SnapshotId&)> taken;
    std::function<void(const std::string& location, const SnapshotId&)> taken_back;
    std::function<void(const SnapshotId&)> cancelled;
};

// A pool whose every call may fail, lose its reply or be the last one of its daemon.
class FatedPool final : public ports::StoragePool {
public:
    FatedPool(memory::MemoryPool& real, Fate& fate, Locations& locations)
        : real_(real), fate_(fate), locations_(locations) {}

    const std::string& name() const override { return real_.name(); }
    std::string driver() const override { return real_.driver(); }
    ports::StorageFeatures features() const override { return real_.features(); }
    bool takes(const ports::DiskSource& source) const override { return real_.takes(source); }
    ports::DiskSource outline(const VolumeId& volume) const override {
        return real_.outline(volume);
    }
    Result<ports::Capacity> capacity() override;
    Result<ByteSize> disk_size(const ports::DiskSource& source) override;
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
    Result<> commit_snapshot(const VolumeId&, const SnapshotId& id) override;
    Result<bool> overlay_written(const VolumeId&, const SnapshotId& id) override;
    Result<std::string> set_aside(const VolumeId&, const SnapshotId& id) override;
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
    memory::MemoryPool& real_;
    Fate& fate_;
    Locations& locations_;
};

}  // namespace understudy::sim
