#include "storage/rbd/pool.hpp"

#include "storage/rbd/volume.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

// A pool of Ceph as a StoragePool. Opening it only checks the settings, without a call to Ceph.
// Each call goes to the Volume object of its volume. The 64 that were used last are kept, because a
// Volume knows of a snapshot that Ceph has not answered yet. Volumes do not wait for each other.
// Nothing durable is made here: the records are the truth, and Volume mends what a crash leaves.

namespace understudy::rbd {
namespace {

constexpr std::size_t kRecentVolumes = 64;

class RbdPool : public ports::StoragePool {
public:
    RbdPool(std::string name, RbdSettings settings)
        : name_(std::move(name)), cluster_(std::make_shared<Cluster>(std::move(settings))) {}

    const std::string& name() const override { return name_; }
    std::string driver() const override { return "rbd"; }
    ports::StorageFeatures features() const override { return {.live_overlay = false}; }
    bool takes(const ports::DiskSource& source) const override {
        if (source.type != "network" || source.format != "raw") return false;
        const auto prefix = directory() + "/";
        return source.location.starts_with(prefix) && source.location.size() > prefix.size() &&
               !source.location.substr(prefix.size()).contains('/');
    }
    ports::DiskSource outline(const VolumeId& id) const override {
        const auto& settings = cluster_->settings();
        return {.type = "network",
                .format = "raw",
                .location = directory() + "/" + id.text(),
                .monitors = cluster_->monitors(),
                .user = cluster_->guest_user(),
                .secret = settings.secret};
    }
    Result<ports::Capacity> capacity() override { return cluster_->capacity(); }
    Result<ByteSize> disk_size(const ports::DiskSource& source) override {
        if (!takes(source))
            return fail(ErrorKind::not_found, source.location + " is not in " + cluster_->where());
        return Images(cluster_).size(source.location.substr(directory().size() + 1));
    }

    Result<ports::AdoptedVolume> adopt(const VolumeId& id, const ports::VolumeLabel& label,
                                       const ports::DiskSource& source) override {
        return volume(id)->adopt(label, source);
    }
    Result<> forget(const VolumeId& id, bool remove_data) override {
        return volume(id)->forget(remove_data);
    }
    Result<bool> knows(const VolumeId& id) override { return volume(id)->known(); }
    Result<std::optional<ports::DiskSource>> head(const VolumeId& id) override {
        return volume(id)->head();
    }
    Result<std::vector<SnapshotId>> snapshots(const VolumeId& id) override {
        return volume(id)->snapshots();
    }
    Result<ports::SnapshotStat> stat(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->stat(snapshot);
    }
    Result<ports::DiskSource> prepare_snapshot(const VolumeId& id, const SnapshotId& snapshot,
                                               ByteSize) override {
        return volume(id)->prepare_snapshot(snapshot);
    }
    Result<> take_snapshot(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->take_snapshot(snapshot);
    }
    Result<bool> snapshot_taken(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->snapshot_taken(snapshot);
    }
    Result<> commit_snapshot(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->commit_snapshot(snapshot);
    }
    Result<bool> overlay_written(const VolumeId& id, const SnapshotId&) override {
        auto known = UNDERSTUDY_VALUE(volume(id)->head());
        return false;  // there are none
    }
    Result<std::string> set_aside(const VolumeId&, const SnapshotId& snapshot) override {
        return fail(ErrorKind::not_found, "no overlay for snapshot " + snapshot.text());
    }
    Result<> cancel_snapshot(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->cancel_snapshot(snapshot);
    }
    Result<std::unique_ptr<ports::Reader>> open_snapshot(const VolumeId& id,
                                                         const SnapshotId& snapshot) override {
        return volume(id)->open_snapshot(snapshot);
    }
    Result<std::unique_ptr<ports::ExtentStream>> changes(const VolumeId& id,
                                                         std::optional<SnapshotId> base,
                                                         const SnapshotId& until,
                                                         ByteOffset from) override {
        return volume(id)->changes(base, until, from);
    }
    Result<std::unique_ptr<ports::Incoming>> receive(const VolumeId& id,
                                                     const ports::VolumeLabel& label,
                                                     std::optional<SnapshotId> base,
                                                     const SnapshotId& snapshot,
                                                     ByteSize size) override {
        return volume(id)->receive(label, base, snapshot, size);
    }
    // Nothing has to be merged: rbd removes a snapshot under a running VM.
    Result<std::optional<ports::LiveMerge>> plan_removal(const VolumeId& id,
                                                         const SnapshotId& snapshot) override {
        UNDERSTUDY_TRY(volume(id)->remove_snapshot(snapshot));
        return std::nullopt;
    }
    Result<> finish_removal(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->remove_snapshot(snapshot);
    }
    Result<std::unique_ptr<ports::Incoming>> mend(const VolumeId& id,
                                                  const SnapshotId& snapshot) override {
        return volume(id)->mend(snapshot);
    }
    Result<> remove_snapshot(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->remove_snapshot(snapshot);
    }
    Result<ports::DiskSource> activate(const VolumeId& id, const SnapshotId& snapshot,
                                       ports::ActivationKind kind) override {
        return volume(id)->activate(snapshot, kind);
    }
    Result<> deactivate(const VolumeId& id, const ports::DiskSource& source) override {
        return volume(id)->deactivate(source);
    }
    Result<bool> head_equals(const VolumeId& id, const SnapshotId& on) override {
        return volume(id)->head_equals(on);
    }
    Result<std::optional<ByteSize>> head_own(const VolumeId& id, const SnapshotId& on) override {
        return volume(id)->head_own(on);
    }
    Result<> retire_head(const VolumeId& id, const SnapshotId& on) override {
        return volume(id)->retire_head(on);
    }

private:
    std::string directory() const {
        const auto& settings = cluster_->settings();
        if (settings.rbd_namespace.empty()) return settings.pool;
        return settings.pool + "/" + settings.rbd_namespace;
    }
    // One object per volume for as long as anybody works with it. The objects that were used last
    // are kept, too: they know of a snapshot that Ceph has not answered yet.
    std::shared_ptr<Volume> volume(const VolumeId& id) {
        const std::lock_guard lock(volumes_mutex_);
        std::erase_if(volumes_, [](const auto& entry) { return entry.second.expired(); });
        auto found = volumes_[id].lock();
        if (!found) found = std::make_shared<Volume>(id, cluster_);
        volumes_[id] = found;
        std::erase(recent_, found);
        recent_.push_back(found);
        if (recent_.size() > kRecentVolumes) recent_.pop_front();
        return found;
    }

    const std::string name_;
    const std::shared_ptr<Cluster> cluster_;
    std::mutex volumes_mutex_;
    std::map<VolumeId, std::weak_ptr<Volume>> volumes_;
    std::deque<std::shared_ptr<Volume>> recent_;
};

Result<> check(const RbdSettings& settings) {
    const auto path = settings.ceph_conf.empty() ? "/etc/ceph/ceph.conf" : settings.ceph_conf;
    if (::access(path.c_str(), R_OK) != 0)
        return fail(errno_error(errno, "read " + path)
                        .advising("Put the cluster's ceph.conf there or name another one."));
    if (settings.pool.empty()) return fail(ErrorKind::invalid, "no pool of Ceph is named");
    for (const auto& name : {settings.pool, settings.rbd_namespace, settings.data_pool})
        if (name.contains('/'))
            return fail(ErrorKind::invalid, fmt::format("'{}' is not the name of a pool", name));
    const auto object = settings.object_size;
    if (!std::has_single_bit(object.count()) || object < base::KiB(4) || object > base::MiB(32))
        return fail(ErrorKind::invalid,
                    fmt::format("an object size of {} bytes is not a power of two between 4 KiB "
                                "and 32 MiB",
                                object.count()));
    std::uint64_t features = 0;
    constexpr std::uint64_t kKnown = RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK |
                                     RBD_FEATURE_OBJECT_MAP | RBD_FEATURE_FAST_DIFF |
                                     RBD_FEATURE_DEEP_FLATTEN;
    if (librbd::RBD().features_from_string(settings.features, &features) < 0 ||
        (features & ~kKnown) != 0)
        return fail(ErrorKind::invalid,
                    fmt::format("image features '{}' are not some of layering, exclusive-lock, "
                                "object-map, fast-diff and deep-flatten",
                                settings.features));
    const auto lacks = [&](std::uint64_t feature, std::uint64_t needed) {
        return (features & feature) != 0 && (features & needed) == 0;
    };
    if (lacks(RBD_FEATURE_OBJECT_MAP, RBD_FEATURE_EXCLUSIVE_LOCK) ||
        lacks(RBD_FEATURE_FAST_DIFF, RBD_FEATURE_OBJECT_MAP))
        return fail(ErrorKind::invalid, "fast-diff needs object-map, and that exclusive-lock");
    if (settings.timeout.count() < 1)
        return fail(ErrorKind::invalid, "a timeout of less than a second");
    return {};
}

}  // namespace

Result<std::unique_ptr<ports::StoragePool>> open_rbd_pool(const std::string& name,
                                                          const RbdSettings& settings) {
    if (auto fine = check(settings); !fine)
        return fail(std::move(fine.error()).during(fmt::format("open pool '{}'", name)));
    return std::make_unique<RbdPool>(name, settings);
}

}  // namespace understudy::rbd
