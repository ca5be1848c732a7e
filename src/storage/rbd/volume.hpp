#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "ports/storage.hpp"
#include "storage/rbd/image.hpp"
#include "storage/rbd/record_store.hpp"

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace understudy::rbd {

class Moment;

// One volume's record and images. The record is read anew for every call and replaced in one step.
// It names an image or snapshot before that is made and until it is gone, so that what a crash
// leaves is known, and the next call that changes the volume removes it.
//
// Thread-safe: one call at a time works on the volume; open readers and the bytes of an Incoming
// do not wait for it.
class Volume : public std::enable_shared_from_this<Volume> {
public:
    Volume(VolumeId id, std::shared_ptr<Cluster> cluster);

    // As StoragePool's methods of the same names. not_found: no such volume.
    Result<ports::AdoptedVolume> adopt(const ports::VolumeLabel& label,
                                       const ports::DiskSource& source);
    Result<> forget(bool remove_data);
    Result<bool> known();
    Result<std::optional<ports::DiskSource>> head();
    Result<std::vector<SnapshotId>> snapshots();
    Result<ports::SnapshotStat> stat(const SnapshotId& id);
    Result<ports::DiskSource> prepare_snapshot(const SnapshotId& id);
    Result<> take_snapshot(const SnapshotId& id);
    Result<bool> snapshot_taken(const SnapshotId& id);
    Result<> commit_snapshot(const SnapshotId& id);
    Result<> cancel_snapshot(const SnapshotId& id);
    Result<std::unique_ptr<ports::Reader>> open_snapshot(const SnapshotId& id);
    Result<std::unique_ptr<ports::ExtentStream>> changes(std::optional<SnapshotId> base,
                                                         const SnapshotId& until, ByteOffset from);
    Result<std::unique_ptr<ports::Incoming>> receive(const ports::VolumeLabel& label,
                                                     std::optional<SnapshotId> base,
                                                     const SnapshotId& id, ByteSize size);
    Result<std::unique_ptr<ports::Incoming>> mend(const SnapshotId& id);
    Result<> remove_snapshot(const SnapshotId& id);
    Result<ports::DiskSource> activate(const SnapshotId& id, ports::ActivationKind kind);
    Result<> deactivate(const ports::DiskSource& source);
    Result<bool> head_equals(const SnapshotId& on);
    Result<std::optional<ByteSize>> head_own(const SnapshotId& on);
    Result<> retire_head(const SnapshotId& on);

    // What an Incoming does to the record; the image's open handle takes the snapshot.
    Result<> publish_incoming(const SnapshotId& id, OpenImage& image);
    Result<> discard_incoming(const SnapshotId& id);
    void close_incoming(const SnapshotId& id);

    // What a mend does: the head, as it is written now, takes the snapshot's place.
    Result<> publish_patch(const SnapshotId& patch, OpenImage& image);
    Result<> discard_patch(const SnapshotId& patch);

    // What an open reader depends on: it is not removed while that lives.
    using Pin = std::pair<std::string, SnapshotId>;  // image, snapshot; nil: the image itself
    using Pins = std::list<std::vector<Pin>>;
    Pins::iterator pin(std::vector<Pin> pins);
    void unpin(Pins::iterator pin);

private:
    // These expect mutex_ to be held.
    Result<std::optional<StoredRecord>> load();  // none also while it is being removed
    Result<StoredRecord> loaded();               // to look at
    Result<StoredRecord> open_for_change();      // to change: what a crash left is removed first
    Result<> save(StoredRecord& stored);
    std::unexpected<Error> no_snapshot(const SnapshotId& id) const;
    ports::DiskSource source_of(const VolumeImage& image) const;
    std::string location_of(const std::string& image) const;
    std::optional<std::string> image_at(const std::string& location) const;

    // Removes what is not needed: images being made, what is unwanted, doomed or dirty. What
    // somebody depends on stays for a later call.
    Result<> sweep(StoredRecord& stored);
    Result<bool> sweep_making(StoredRecord& stored);
    Result<bool> sweep_dirty(StoredRecord& stored);
    Result<bool> sweep_patch(StoredRecord& stored);
    Result<> check_mendable(const VolumeRecord& record, const VolumeSnapshot& snapshot) const;
    Result<> finish_patch(StoredRecord& stored);
    Result<bool> sweep_snapshots(StoredRecord& stored);
    Result<bool> sweep_doomed(StoredRecord& stored);
    Result<bool> free_children(StoredRecord& stored, const std::string& image);
    bool is_needed(const VolumeRecord& record, const VolumeSnapshot& snapshot) const;
    bool is_pinned(const std::string& image, const SnapshotId& id) const;
    std::vector<Pin> pins_for(const VolumeRecord& record, const VolumeSnapshot& snapshot) const;
    Result<> remove_everything(StoredRecord& stored);

    Result<std::string> new_image_name(const VolumeRecord& record);
    // Names it in the record, makes it, and names it again with its role.
    Result<> make_image(StoredRecord& stored, VolumeImage image,
                        const std::function<Result<>(const std::string& name)>& make);
    // After it could not be made. A volume that existed only for it goes.
    Result<> unmake(StoredRecord& stored, const std::string& name, ErrorKind why);
    // `of` is none that `stored` holds.
    Result<ports::DiskSource> make_clone(StoredRecord& stored, const VolumeSnapshot& of,
                                         ImageRole role);
    Result<std::optional<std::string>> untouched(const VolumeRecord& record, ImageRole role,
                                                 const SnapshotId& id);
    Result<> check_unused(const std::string& image);
    Result<> check_replaceable(const VolumeRecord& record);
    Result<bool> head_is_on(const VolumeRecord& record, const SnapshotId& on);
    Result<ports::DiskSource> promote(StoredRecord& stored, const VolumeSnapshot& onto);
    Result<ports::DiskSource> roll_back_in_place(StoredRecord& stored);
    Result<ports::DiskSource> finish_rollback(StoredRecord& stored, const std::string& image);
    Result<bool> restore_forgotten(const std::string& location);
    Result<std::unique_ptr<ports::Incoming>> begin_incoming(StoredRecord stored,
                                                            std::optional<SnapshotId> base,
                                                            const SnapshotId& id, ByteSize size);
    Result<std::unique_ptr<ports::Incoming>> open_incoming(const VolumeImage& image);

    const VolumeId id_;
    const Images images_;
    const RecordStore records_;
    std::timed_mutex mutex_;
    std::set<SnapshotId> receiving_;  // Incomings that exist in this process; under mutex_
    std::shared_ptr<Moment> moment_;  // the latest take_snapshot; under mutex_
    std::map<std::pair<SnapshotId, SnapshotId>, ByteSize> own_;  // snapshot, parent; under mutex_
    mutable std::mutex pins_mutex_;
    Pins pins_;  // one entry per reader; under pins_mutex_
};

}  // namespace understudy::rbd
