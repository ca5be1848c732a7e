#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"
#include "ports/storage.hpp"
#include "storage/qcow2/image/writer.hpp"
#include "storage/qcow2/volume_record.hpp"

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace understudy::qcow2 {

inline constexpr const char* kRecordName = "volume.json";
inline constexpr const char* kForgottenName = "forgotten.json";     // forgotten, its files kept
inline constexpr const char* kReserveName = ".understudy.reserve";  // in the pool's directory
inline constexpr const char* kRemovingName = "removing.json";       // being deleted with its files

// One volume's directory. The record there is read anew for every call and replaced in one step;
// new files exist durably before the record names them, and old ones are deleted after it no
// longer does, so that a crash leaves only files that nobody names, which the next call removes.
//
// Thread-safe: one call at a time works on the volume; open readers and the bytes of an Incoming
// do not wait for it.
class Volume : public std::enable_shared_from_this<Volume> {
public:
    Volume(VolumeId id, std::string directory, std::string full_format);

    // As StoragePool's methods of the same names. not_found: no such volume.
    Result<ports::AdoptedVolume> adopt(const ports::VolumeLabel& label,
                                       const ports::DiskSource& source);
    Result<> forget(bool remove_data);
    Result<bool> known();
    Result<std::optional<ports::DiskSource>> head();
    Result<std::vector<SnapshotId>> snapshots();
    Result<ports::SnapshotStat> stat(const SnapshotId& id);
    Result<ports::DiskSource> prepare_snapshot(const SnapshotId& id, ByteSize size);
    Result<> commit_snapshot(const SnapshotId& id);
    Result<bool> overlay_written(const SnapshotId& id);
    Result<std::string> set_aside(const SnapshotId& id);
    Result<> cancel_snapshot(const SnapshotId& id);
    Result<std::unique_ptr<ports::Reader>> open_snapshot(const SnapshotId& id);
    Result<std::unique_ptr<ports::ExtentStream>> changes(std::optional<SnapshotId> base,
                                                         const SnapshotId& until, ByteOffset from);
    Result<std::unique_ptr<ports::Incoming>> receive(const ports::VolumeLabel& label,
                                                     std::optional<SnapshotId> base,
                                                     const SnapshotId& id, ByteSize size);
    Result<std::unique_ptr<ports::Incoming>> mend(const SnapshotId& id);
    Result<std::optional<ports::LiveMerge>> plan_removal(const SnapshotId& id);
    Result<> finish_removal(const SnapshotId& id);
    Result<> remove_snapshot(const SnapshotId& id);
    Result<ports::DiskSource> activate(const SnapshotId& id, ports::ActivationKind kind);
    Result<> deactivate(const ports::DiskSource& source);
    Result<bool> head_equals(const SnapshotId& on);
    Result<ByteSize> head_own();
    Result<> retire_head(const SnapshotId& on);

    // What an Incoming does to the record.
    Result<> publish_incoming(const SnapshotId& id);
    Result<> discard_incoming(const SnapshotId& id);
    void close_incoming(const SnapshotId& id);

    // What a mend does: `patch`, an overlay on `layer`, goes into it.
    Result<> apply_patch(const SnapshotId& id, const std::string& layer, const std::string& patch);
    void close_patch(const std::string& patch);

    // Files that an open reader depends on: nothing is merged into them while it lives.
    using Pins = std::list<std::vector<std::string>>;
    Pins::iterator pin(std::vector<std::string> paths);
    void unpin(Pins::iterator pin);

private:
    enum class Merges { offline, beside_running_vm };
    enum class Place { under_head, elsewhere };

    // These expect mutex_ to be held.
    Result<std::optional<VolumeRecord>> load();
    Result<VolumeRecord> loaded();
    Result<> save(const VolumeRecord& record);
    std::unexpected<Error> no_snapshot(const SnapshotId& id) const;
    Result<> remove_leftovers(const VolumeRecord& record);
    Result<> check_mendable(const VolumeRecord& record, const VolumeLayer& layer) const;
    Result<> remove_everything();
    Result<bool> restore_forgotten(const std::string& location);
    Result<> reconcile_live_merge(VolumeRecord& record, const std::string& location);
    std::string pool_directory() const;
    std::string path_of(const VolumeLayer& layer) const;
    std::string path_of(std::string_view file) const;
    std::string new_file_name(const VolumeRecord& record, const SnapshotId& id,
                              const std::string& format) const;
    ports::DiskSource source_of(const VolumeLayer& layer) const;
    Result<VolumeLayer> make_overlay(const VolumeRecord& record, const VolumeLayer& below,
                                     ByteSize size, LayerRole role, const SnapshotId& id);
    Result<> drop(VolumeRecord& record, const std::string& file);  // from the record, then the disk
    Result<std::optional<VolumeLayer>> untouched(const VolumeRecord& record, LayerRole role,
                                                 const SnapshotId& id);
    Result<ports::DiskSource> make_head(VolumeRecord& record, const VolumeLayer& onto,
                                        LayerRole role);
    Result<> check_replaceable(const VolumeRecord& record);
    Result<bool> head_is_on(const VolumeRecord& record, const SnapshotId& on);
    Result<ports::DiskSource> finish_rollback(VolumeRecord& record, const std::string& file);

    Result<> unname(VolumeRecord& record, const SnapshotId& id);
    Result<> prune(VolumeRecord& record);  // unnamed layers that nothing needs
    Result<> sweep(VolumeRecord& record, Merges merges);
    bool may_merge(const VolumeRecord& record, const VolumeLayer& base,
                   const VolumeLayer& top) const;
    // The base of a merge under the head, or of one elsewhere.
    const VolumeLayer* next_merge(const VolumeRecord& record, Place place) const;
    Result<> merge_offline(VolumeRecord& record);
    Result<> finish_pending(VolumeRecord& record);
    Result<> seal_head(VolumeRecord& record);
    Result<> finish_sealed(VolumeRecord& record);
    Result<> finish_sealed_under(VolumeRecord& record);
    Result<> check_live_merge_done(const VolumeRecord& record) const;
    bool is_pinned(const std::string& path) const;

    Result<std::unique_ptr<ports::Incoming>> begin_incoming(VolumeRecord record,
                                                            const VolumeLayer* below,
                                                            std::optional<SnapshotId> base,
                                                            const SnapshotId& id, ByteSize size);
    Result<std::unique_ptr<ports::Incoming>> reopen_incoming(const VolumeLayer& layer);

    const VolumeId id_;
    const std::string directory_;
    const std::string full_format_;
    std::mutex mutex_;
    std::set<SnapshotId> receiving_;  // Incomings that exist in this process; under mutex_
    std::set<std::string> patches_;   // files of mends that exist in this process; under mutex_
    mutable std::mutex pins_mutex_;
    Pins pins_;  // paths, one entry per reader; under pins_mutex_
};

}  // namespace understudy::qcow2
