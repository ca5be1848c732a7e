#include "storage/qcow2/pool.hpp"

#include "base/durable_file.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

// A directory as a pool. Opening it makes the directory, takes its lock and sets the reserve aside.
// Each call goes to the Volume object of its volume, which lives as long as anybody works with it.
// Volumes do not wait for each other, but only one disk is adopted at a time, because all records
// are searched for its file. Nothing is kept here: the records are the truth, and Volume mends what
// a crash leaves.

namespace understudy::qcow2 {
namespace {

constexpr const char* kLockName = ".understudy.lock";  // holds the owner's process id

// Keeps other processes out of the directory for as long as it lives. The kernel releases the lock
// when the process ends.
class DirectoryLock {
public:
    static Result<DirectoryLock> take(const std::string& directory) {
        const auto path = directory + "/" + kLockName;
        Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!file) return fail(errno_error(errno, "open " + path));
        if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
            const auto owner = base::read_file(path, 64);
            const auto pid = owner && *owner ? **owner : std::string("unknown");
            return fail(Error(ErrorKind::conflict,
                              fmt::format("{} is in use by process {}", directory, pid))
                            .advising("One pool directory serves one daemon; stop the other one."));
        }
        const auto pid = fmt::format("{}", ::getpid());
        if (::ftruncate(file.get(), 0) != 0 ||
            ::pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
            return fail(with_free_space(errno_error(errno, "write " + path), directory));
        return DirectoryLock(std::move(file));
    }

private:
    explicit DirectoryLock(Fd file) : file_(std::move(file)) {}
    Fd file_;
};

bool is_same_file(const std::string& a, const std::string& b) {
    std::error_code error;
    return a == b || std::filesystem::equivalent(a, b, error);
}

class Qcow2Pool : public ports::StoragePool {
public:
    Qcow2Pool(std::string name, std::string directory, PoolSettings settings, DirectoryLock lock)
        : name_(std::move(name)),
          directory_(std::move(directory)),
          settings_(std::move(settings)),
          lock_(std::move(lock)) {}

    const std::string& name() const override { return name_; }
    std::string driver() const override { return "qcow2"; }
    ports::StorageFeatures features() const override { return {.live_overlay = true}; }
    bool takes(const ports::DiskSource& source) const override { return source.type == "file"; }
    ports::DiskSource outline(const VolumeId& id) const override {
        return {"file", "qcow2", directory_ + "/" + id.text()};
    }
    Result<ports::Capacity> capacity() override {
        auto space = UNDERSTUDY_VALUE(free_space(directory_));
        return ports::Capacity{.total = space.total, .free = space.free};
    }
    Result<ByteSize> disk_size(const ports::DiskSource& source) override {
        auto info = probe_image(source.location, source.format);
        if (!info) return fail(std::move(info.error()).during("look at " + source.location));
        return info->size;
    }

    Result<ports::AdoptedVolume> adopt(const VolumeId& id, const ports::VolumeLabel& label,
                                       const ports::DiskSource& source) override {
        const std::lock_guard one_at_a_time(adopting_);
        UNDERSTUDY_TRY(check_not_taken(id, source.location));
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
                                               ByteSize size) override {
        return volume(id)->prepare_snapshot(snapshot, size);
    }
    Result<> take_snapshot(const VolumeId&, const SnapshotId&) override { return {}; }
    Result<bool> snapshot_taken(const VolumeId&, const SnapshotId&) override { return false; }
    Result<> commit_snapshot(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->commit_snapshot(snapshot);
    }
    Result<bool> overlay_written(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->overlay_written(snapshot);
    }
    Result<std::string> set_aside(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->set_aside(snapshot);
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
    Result<std::unique_ptr<ports::Incoming>> mend(const VolumeId& id,
                                                  const SnapshotId& snapshot) override {
        return volume(id)->mend(snapshot);
    }
    Result<std::optional<ports::LiveMerge>> plan_removal(const VolumeId& id,
                                                         const SnapshotId& snapshot) override {
        return volume(id)->plan_removal(snapshot);
    }
    Result<> finish_removal(const VolumeId& id, const SnapshotId& snapshot) override {
        return volume(id)->finish_removal(snapshot);
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
    Result<std::optional<ByteSize>> head_own(const VolumeId& id, const SnapshotId&) override {
        return volume(id)->head_own();
    }
    Result<> retire_head(const VolumeId& id, const SnapshotId& on) override {
        return volume(id)->retire_head(on);
    }

private:
    // One object per volume for as long as anybody works with it.
    std::shared_ptr<Volume> volume(const VolumeId& id) {
        const std::lock_guard lock(volumes_mutex_);
        std::erase_if(volumes_, [](const auto& entry) { return entry.second.expired(); });
        auto& known = volumes_[id];
        if (auto live = known.lock()) return live;
        auto made =
            std::make_shared<Volume>(id, directory_ + "/" + id.text(), settings_.full_format);
        known = made;
        return made;
    }

    // A file belongs to at most one volume, by whatever name it is given.
    Result<> check_not_taken(const VolumeId& id, const std::string& location) {
        auto names = UNDERSTUDY_VALUE(list_directory(directory_));
        for (const auto& name : names) {
            if (name == id.text() || !VolumeId::parse(name)) continue;
            const auto folder = directory_ + "/" + name;
            auto text =
                UNDERSTUDY_VALUE(base::read_file(folder + "/" + kRecordName, kMaxRecordBytes));
            if (!text) continue;
            auto record = read_record(*text);
            if (!record) continue;  // reported where that volume is used; it must not stop this one
            for (const auto& layer : record->layers) {
                const auto path = layer.adopted ? layer.file : folder + "/" + layer.file;
                if (is_same_file(path, location))
                    return fail(
                        ErrorKind::conflict,
                        fmt::format("{} is part of volume {} ({} of VM '{}') already", location,
                                    name, record->label.disk_target, record->label.vm_name));
            }
        }
        return {};
    }

    const std::string name_;
    const std::string directory_;
    const PoolSettings settings_;
    const DirectoryLock lock_;
    std::mutex adopting_;
    std::mutex volumes_mutex_;
    std::map<VolumeId, std::weak_ptr<Volume>> volumes_;
};

}  // namespace

Result<std::unique_ptr<ports::StoragePool>> open_qcow2_pool(const std::string& name,
                                                            const std::string& directory,
                                                            const PoolSettings& settings) {
    const auto step = fmt::format("open pool '{}'", name);
    if (!directory.starts_with('/'))
        return fail(
            Error(ErrorKind::invalid, "'" + directory + "' is not an absolute path").during(step));
    if (settings.full_format != "qcow2" && settings.full_format != "raw")
        return fail(Error(ErrorKind::invalid,
                          "full_format is '" + settings.full_format + "', not qcow2 or raw")
                        .during(step));
    std::string path = directory;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (auto made = make_directory(path); !made) return fail(std::move(made.error()).during(step));
    auto lock = DirectoryLock::take(path);
    if (!lock) return fail(std::move(lock.error()).during(step));
    keep_reserve(path + "/" + kReserveName);
    return std::make_unique<Qcow2Pool>(name, path, settings, std::move(*lock));
}

}  // namespace understudy::qcow2
