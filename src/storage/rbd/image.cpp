#include "storage/rbd/image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <list>
#include <utility>

// What is done to images and snapshots by name: making, cloning, resizing, flattening, removing,
// rolling back. Most calls open the image and close it again; each is bounded by the settings'
// timeout per operation of Ceph. The caller's record names an image or a snapshot before it is made
// and until it is gone, and each removal may be repeated. If a crash cut an image's removal off,
// the image lies in rbd's trash, and the same call (finish_removal) removes it from there.

namespace understudy::rbd {
namespace {

// Without these, an image could not be cloned, and a clone with snapshots could not be made
// independent of it.
constexpr std::uint64_t kNeededFeatures = RBD_FEATURE_LAYERING | RBD_FEATURE_DEEP_FLATTEN;

class NoProgress : public librbd::ProgressContext {
public:
    int update_progress(std::uint64_t, std::uint64_t) override { return 0; }
};

librbd::ImageOptions options_for(const RbdSettings& settings) {
    librbd::ImageOptions options;
    std::uint64_t features = 0;
    librbd::RBD().features_from_string(settings.features, &features);
    options.set(RBD_IMAGE_OPTION_FEATURES, features | kNeededFeatures);
    options.set(RBD_IMAGE_OPTION_FORMAT, std::uint64_t{2});
    if (!settings.data_pool.empty()) options.set(RBD_IMAGE_OPTION_DATA_POOL, settings.data_pool);
    return options;
}

}  // namespace

std::string snapshot_name(const SnapshotId& id) {
    return "understudy-" + id.text();
}

Error Images::error(int result, const std::string& step, const std::string& name) const {
    return cluster_->error(result, fmt::format("{} image {}", step, name));
}

Result<std::shared_ptr<OpenImage>> Images::open(const std::string& name) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    auto opened = std::make_shared<OpenImage>();
    opened->connection = connection;
    const int result = librbd::RBD().open(connection->io, opened->image, name.c_str());
    if (result < 0) return fail(error(result, "open", name));
    return opened;
}

Result<std::shared_ptr<OpenImage>> Images::open_frozen(const std::string& name,
                                                       std::optional<SnapshotId> snapshot) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    auto opened = std::make_shared<OpenImage>();
    opened->connection = connection;
    const auto at = snapshot ? snapshot_name(*snapshot) : std::string();
    const int result = librbd::RBD().open_read_only(connection->io, opened->image, name.c_str(),
                                                    snapshot ? at.c_str() : nullptr);
    if (result < 0) return fail(error(result, "open", snapshot ? name + "@" + at : name));
    return opened;
}

Result<bool> Images::exists(const std::string& name) const {
    auto opened = open_frozen(name, {});
    if (opened) return true;
    if (opened.error().kind() == ErrorKind::not_found) return false;
    return error_of(opened);
}

Result<ByteSize> Images::size(const std::string& name) const {
    auto opened = UNDERSTUDY_VALUE(open_frozen(name, {}));
    std::uint64_t size = 0;
    if (const int result = opened->image.size(&size); result < 0)
        return fail(error(result, "look at", name));
    return ByteSize(size);
}

Result<> Images::create(const std::string& name, ByteSize size) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    const auto& settings = cluster_->settings();
    auto options = options_for(settings);
    const auto order = std::countr_zero(settings.object_size.count());
    options.set(RBD_IMAGE_OPTION_ORDER, static_cast<std::uint64_t>(order));
    const int result = librbd::RBD().create4(connection->io, name.c_str(), size.count(), options);
    if (result < 0) return fail(error(result, "make", name));
    return {};
}

Result<> Images::clone(const std::string& parent, const SnapshotId& snapshot,
                       const std::string& name) const {
    auto opened = UNDERSTUDY_VALUE(open_frozen(parent, snapshot));
    librbd::image_info_t info;
    if (const int result = opened->image.stat(info, sizeof info); result < 0)
        return fail(error(result, "look at", parent));
    auto options = options_for(cluster_->settings());
    // As the parent's, so that the objects of both stand for the same bytes.
    options.set(RBD_IMAGE_OPTION_ORDER, static_cast<std::uint64_t>(info.order));
    options.set(RBD_IMAGE_OPTION_CLONE_FORMAT, std::uint64_t{2});
    auto& io = opened->connection->io;
    const auto at = snapshot_name(snapshot);
    const int result =
        librbd::RBD().clone3(io, parent.c_str(), at.c_str(), io, name.c_str(), options);
    if (result < 0) return fail(error(result, "clone " + parent + "@" + at + " as", name));
    return {};
}

Result<> Images::resize(OpenImage& image, ByteSize size) const {
    std::uint64_t present = 0;
    int result = image.image.size(&present);
    NoProgress progress;
    if (result >= 0 && present != size.count())
        result = image.image.resize2(size.count(), true, progress);
    if (result >= 0) return {};
    std::string name;
    image.image.get_name(&name);
    return fail(error(result, "resize", name));
}

Result<> Images::flatten(const std::string& name) const {
    auto opened = UNDERSTUDY_VALUE(open(name));
    const int result = opened->image.flatten();
    if (result == -EINVAL) return {};  // it has no parent, or no longer has one
    if (result < 0) return fail(error(result, "make independent of its parent:", name));
    return {};
}

Result<> Images::remove(const std::string& name) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    const int result = librbd::RBD().remove(connection->io, name.c_str());
    if (result >= 0) return {};
    if (result == -ENOENT) return finish_removal(*connection, name);
    if (result == -EBUSY || result == -ENOTEMPTY)
        return fail(ErrorKind::conflict, fmt::format("image {} is open or has snapshots", name));
    return fail(error(result, "remove", name));
}

// librbd removes an image by way of rbd's trash, so an image whose removal was cut off lies there.
// librbd also says that there is no image if it could not write to the trash.
Result<> Images::finish_removal(Connection& connection, const std::string& name) const {
    auto there = UNDERSTUDY_VALUE(exists(name));
    if (there) return fail(error(-ENOSPC, "put into the trash:", name));
    std::vector<librbd::trash_image_info_t> trash;
    int result = librbd::RBD().trash_list(connection.io, trash);
    if (result < 0 && result != -ENOENT) return fail(error(result, "look in the trash for", name));
    for (const auto& entry : trash) {
        if (entry.name != name || entry.source != RBD_TRASH_IMAGE_SOURCE_REMOVING) continue;
        result = librbd::RBD().trash_remove(connection.io, entry.id.c_str(), true);
        if (result < 0 && result != -ENOENT)
            return fail(error(result, "remove from the trash:", name));
    }
    return {};
}

Result<std::vector<std::string>> Images::watchers(const std::string& name) const {
    auto opened = open_frozen(name, {});
    if (!opened) {
        if (opened.error().kind() == ErrorKind::not_found) return std::vector<std::string>{};
        return error_of(opened);
    }
    std::list<librbd::image_watcher_t> found;
    if (const int result = (*opened)->image.list_watchers(found); result < 0)
        return fail(error(result, "ask who has open:", name));
    std::vector<std::string> addresses;
    for (const auto& watcher : found) addresses.push_back(watcher.addr);
    return addresses;
}

Result<bool> Images::has_snapshot(const std::string& name, const SnapshotId& id) const {
    auto opened = open_frozen(name, id);
    if (opened) return true;
    if (opened.error().kind() == ErrorKind::not_found) return false;
    return error_of(opened);
}

Result<ByteSize> Images::snapshot_size(const std::string& name, const SnapshotId& id) const {
    auto opened = UNDERSTUDY_VALUE(open_frozen(name, id));
    std::uint64_t size = 0;
    if (const int result = opened->image.size(&size); result < 0)
        return fail(error(result, "look at", name));
    return ByteSize(size);
}

Result<bool> Images::has_any_snapshot(const std::string& name) const {
    auto opened = UNDERSTUDY_VALUE(open_frozen(name, {}));
    std::vector<librbd::snap_info_t> snapshots;
    if (const int result = opened->image.snap_list(snapshots); result < 0)
        return fail(error(result, "list the snapshots of", name));
    return !snapshots.empty();
}

Result<> Images::make_snapshot(OpenImage& image, const SnapshotId& id) const {
    NoProgress progress;
    const auto made = snapshot_name(id);
    // The VM stands still, or nobody writes, so no program is asked to hold its writes.
    const int result =
        image.image.snap_create2(made.c_str(), RBD_SNAP_CREATE_SKIP_QUIESCE, progress);
    if (result >= 0) return {};
    if (result == -EEXIST) return fail(ErrorKind::conflict, "snapshot " + id.text() + " exists");
    std::string name;
    image.image.get_name(&name);
    return fail(error(result, "take snapshot " + made + " of", name));
}

Result<bool> Images::remove_snapshot(const std::string& name, const SnapshotId& id) const {
    auto opened = open(name);
    if (!opened) {
        if (opened.error().kind() == ErrorKind::not_found) return false;
        return error_of(opened);
    }
    const auto removed = snapshot_name(id);
    const int result = (*opened)->image.snap_remove(removed.c_str());
    if (result == -ENOENT) return false;
    if (result == -EBUSY)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("snapshot {}@{} is protected or has clones of the first kind",
                                      name, removed))
                        .advising("See `rbd children` and `rbd snap unprotect`."));
    if (result < 0) return fail(error(result, "remove snapshot " + removed + " of", name));
    return true;
}

Result<> Images::rename_snapshot(const std::string& name, const SnapshotId& from,
                                 const SnapshotId& to) const {
    auto opened = UNDERSTUDY_VALUE(open(name));
    const auto before = snapshot_name(from);
    const int result = opened->image.snap_rename(before.c_str(), snapshot_name(to).c_str());
    if (result < 0) return fail(error(result, "rename snapshot " + before + " of", name));
    return {};
}

Result<> Images::roll_back(const std::string& name, const SnapshotId& id) const {
    auto opened = UNDERSTUDY_VALUE(open(name));
    const auto to = snapshot_name(id);
    if (const int result = opened->image.snap_rollback(to.c_str()); result < 0)
        return fail(error(result, "roll back to " + to + ":", name));
    return {};
}

}  // namespace understudy::rbd
