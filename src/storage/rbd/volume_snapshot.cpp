// Snapshots of the head: prepared, taken in the VM's one moment, committed or cancelled.
#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <thread>
#include <utility>

namespace understudy::rbd {
namespace {

// The VM stands still meanwhile.
constexpr std::chrono::seconds kMomentLimit{5};
constexpr std::chrono::seconds kLockLimit{1};

}  // namespace

// One attempt to make a snapshot, which goes on by itself when nobody waits for it any more.
class Moment : public std::enable_shared_from_this<Moment> {
public:
    Moment(Images images, RecordStore records, VolumeId volume, SnapshotId id)
        : images_(std::move(images)), records_(std::move(records)), volume_(volume), id_(id) {}

    void begin() {
        std::thread([self = shared_from_this()] {
            auto result = self->make();
            const std::lock_guard lock(self->mutex_);
            self->result_ = std::move(result);
            self->done_.notify_all();
        }).detach();
    }
    // Nothing when it is still under way.
    std::optional<Result<>> wait_for(std::chrono::milliseconds limit) {
        std::unique_lock lock(mutex_);
        done_.wait_for(lock, limit, [&] { return result_.has_value(); });
        return result_;
    }

private:
    Result<> make() const {
        auto stored = UNDERSTUDY_VALUE(records_.volume(volume_));
        const auto* planned = stored ? stored->record.find(SnapshotState::taking, id_) : nullptr;
        if (stored && stored->record.listed(id_))
            return fail(ErrorKind::conflict, "snapshot " + id_.text() + " was taken before");
        if (!planned)
            return fail(ErrorKind::conflict, "snapshot " + id_.text() + " was not prepared");
        auto image = UNDERSTUDY_VALUE(images_.open(planned->image));
        return images_.make_snapshot(*image, id_);
    }

    const Images images_;
    const RecordStore records_;
    const VolumeId volume_;
    const SnapshotId id_;
    std::mutex mutex_;
    std::condition_variable done_;
    std::optional<Result<>> result_;
};

Result<ports::DiskSource> Volume::prepare_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(open_for_change());
    auto& record = stored.record;
    const auto* head = record.find(ImageRole::head);
    if (!head)
        return fail(ErrorKind::conflict,
                    fmt::format("volume {} has no disk that a VM writes to", id_.text()));
    if (record.listed(id)) {
        if (head->lineage == id) return source_of(*head);
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " was taken before");
    }
    if (record.incoming(id))
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " is being received");
    if (const auto* taking = record.taking()) {
        if (taking->id == id) return source_of(*head);
        return fail(Error(ErrorKind::conflict, "snapshot " + taking->id.text() + " is being taken")
                        .advising("Its task comes first: see `understudy task list`; "
                                  "one that failed may be retried."));
    }
    if (!record.rollback.is_nil())
        return fail(Error(ErrorKind::conflict,
                          "the volume is being rolled back to snapshot " + record.rollback.text())
                        .advising("Finish the rollback first."));
    if (const auto* old = record.find(SnapshotState::unwanted, id); old && !old->late)
        return fail(ErrorKind::unavailable,
                    "a removed snapshot " + id.text() + " is still being read");
    std::erase_if(record.snapshots, [&](const auto& snapshot) {
        return snapshot.id == id && snapshot.state == SnapshotState::unwanted;
    });
    record.snapshots.push_back(
        {.id = id, .image = head->name, .parent = {}, .state = SnapshotState::taking});
    UNDERSTUDY_TRY(save(stored));
    return source_of(*record.find(ImageRole::head));
}

Result<> Volume::take_snapshot(const SnapshotId& id) {
    std::unique_lock lock(mutex_, kLockLimit);
    if (!lock)
        return fail(ErrorKind::unavailable,
                    fmt::format("volume {} is being worked on by something else", id_.text()));
    if (moment_ && !moment_->wait_for(std::chrono::seconds(0)))
        return fail(Error(ErrorKind::unavailable,
                          "Ceph has not answered an earlier snapshot of this volume yet")
                        .advising("Check the cluster with `ceph -s`."));
    moment_ = std::make_shared<Moment>(images_, records_, id_, id);
    const auto moment = moment_;
    moment->begin();
    lock.unlock();
    if (auto result = moment->wait_for(kMomentLimit)) return *result;
    return fail(
        Error(ErrorKind::unavailable, fmt::format("no snapshot within {} s in {}",
                                                  kMomentLimit.count(), images_.cluster().where()))
            .advising("The VM is not kept waiting for it. Check the cluster with `ceph "
                      "-s`, then take another."));
}

Result<bool> Volume::snapshot_taken(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    if (stored.record.listed(id)) return true;
    const auto* taking = stored.record.find(SnapshotState::taking, id);
    if (!taking) return false;
    return images_.has_snapshot(taking->image, id);
}

Result<> Volume::commit_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    auto& record = stored.record;
    if (record.listed(id)) return {};
    auto* taking = record.find(SnapshotState::taking, id);
    if (!taking) return fail(ErrorKind::conflict, "snapshot " + id.text() + " was not prepared");
    auto* image = record.image(taking->image);
    auto size = images_.snapshot_size(taking->image, id);
    if (!size && size.error().kind() == ErrorKind::not_found)
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " was not taken");
    if (!size) return error_of(size);
    taking->state = SnapshotState::listed;
    taking->size = *size;
    taking->parent = image->lineage;
    image->lineage = id;
    image->snapshot = {};
    return save(stored);
}

Result<> Volume::cancel_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    if (stored.record.listed(id))
        return fail(Error(ErrorKind::conflict, "snapshot " + id.text() + " was taken already")
                        .advising("Remove it instead."));
    if (auto* taking = stored.record.find(SnapshotState::taking, id)) {
        taking->state = SnapshotState::unwanted;
        taking->late = true;
        UNDERSTUDY_TRY(save(stored));
    }
    return sweep(stored);
}

}  // namespace understudy::rbd
