#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace understudy::rbd {
namespace {

constexpr std::size_t kMaxNamePart = 40;

// What every tool of Ceph, QEMU and libvirt takes in a name.
std::string plain(const std::string& text) {
    std::string part = text.substr(0, kMaxNamePart);
    std::ranges::replace_if(
        part,
        [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_'; },
        '_');
    return part;
}

}  // namespace

Volume::Volume(VolumeId id, std::shared_ptr<Cluster> cluster)
    : id_(id), images_(cluster), records_(std::move(cluster)) {}

Result<std::optional<StoredRecord>> Volume::load() {
    auto stored = records_.volume(id_);
    if (!stored) return error_of(stored);
    if (*stored && (*stored)->record.removing) return std::nullopt;
    if (*stored) UNDERSTUDY_TRY(finish_patch(**stored));
    return stored;
}

Result<StoredRecord> Volume::loaded() {
    auto stored = UNDERSTUDY_VALUE(load());
    if (stored) return std::move(*stored);
    return fail(ErrorKind::not_found,
                fmt::format("no volume {} in {}", id_.text(), images_.cluster().where()));
}

Result<StoredRecord> Volume::open_for_change() {
    auto stored = loaded();
    if (!stored) return error_of(stored);
    UNDERSTUDY_TRY(sweep(*stored));
    return stored;
}

Result<> Volume::save(StoredRecord& stored) {
    return records_.save(id_, stored);
}

std::unexpected<Error> Volume::no_snapshot(const SnapshotId& id) const {
    return fail(ErrorKind::not_found,
                fmt::format("volume {} has no snapshot {}", id_.text(), id.text()));
}

std::string Volume::location_of(const std::string& image) const {
    const auto& settings = images_.cluster().settings();
    if (settings.rbd_namespace.empty()) return settings.pool + "/" + image;
    return settings.pool + "/" + settings.rbd_namespace + "/" + image;
}

std::optional<std::string> Volume::image_at(const std::string& location) const {
    const auto prefix = location_of("");
    if (!location.starts_with(prefix) || location.size() == prefix.size()) return std::nullopt;
    auto image = location.substr(prefix.size());
    if (image.contains('/')) return std::nullopt;
    return image;
}

ports::DiskSource Volume::source_of(const VolumeImage& image) const {
    const auto& settings = images_.cluster().settings();
    return {.type = "network",
            .format = "raw",
            .location = location_of(image.name),
            .monitors = images_.cluster().monitors(),
            .user = images_.cluster().guest_user(),
            .secret = settings.secret};
}

Result<bool> Volume::known() {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(load());
    return stored.has_value();
}

Result<std::optional<ports::DiskSource>> Volume::head() {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    const auto* head = stored.record.find(ImageRole::head);
    if (!head) return std::nullopt;
    return source_of(*head);
}

Result<std::vector<SnapshotId>> Volume::snapshots() {
    const std::lock_guard lock(mutex_);
    auto stored = UNDERSTUDY_VALUE(loaded());
    std::vector<SnapshotId> ids;
    for (const auto& snapshot : stored.record.snapshots)
        if (snapshot.state == SnapshotState::listed) ids.push_back(snapshot.id);
    return ids;
}

Result<std::string> Volume::new_image_name(const VolumeRecord& record) {
    const auto& label = record.label;
    const auto stem = fmt::format("understudy.{}-{}.{}", plain(label.vm_name),
                                  plain(label.disk_target), id_.text().substr(0, 8));
    for (int number = 1;; ++number) {
        auto name = number == 1 ? stem : fmt::format("{}.{}", stem, number);
        if (record.image(name)) continue;
        auto taken = UNDERSTUDY_VALUE(images_.exists(name));
        if (!taken) return name;
    }
}

Result<> Volume::make_image(StoredRecord& stored, VolumeImage image,
                            const std::function<Result<>(const std::string& name)>& make) {
    auto name = UNDERSTUDY_VALUE(new_image_name(stored.record));
    image.name = name;
    const auto role = std::exchange(image.role, ImageRole::making);
    stored.record.images.push_back(image);
    UNDERSTUDY_TRY(save(stored));
    if (auto made = make(name); !made) {
        if (auto undone = unmake(stored, name, made.error().kind()); !undone)
            return fail(std::move(made.error()).keeping("a leftover that the next call removes"));
        return made;
    }
    crash_point("image made");
    stored.record.image(name)->role = role;
    return save(stored);
}

Result<> Volume::unmake(StoredRecord& stored, const std::string& name, ErrorKind why) {
    // Somebody else's is not taken for ours, should one of that name have come up just now.
    if (why == ErrorKind::conflict)
        stored.record.remove_image(name);
    else if (auto removed = sweep_making(stored); !removed)
        return error_of(removed);
    if (stored.record.images.empty() && stored.record.snapshots.empty())
        return records_.remove(id_, stored);
    return save(stored);
}

Result<ports::DiskSource> Volume::make_clone(StoredRecord& stored, const VolumeSnapshot& of,
                                             ImageRole role) {
    VolumeImage image{.name = {},
                      .adopted = false,
                      .role = role,
                      .parent = of.image,
                      .snapshot = of.id,
                      .base = {},
                      .lineage = of.id,
                      .size = {}};
    UNDERSTUDY_TRY(make_image(stored, std::move(image), [&](const std::string& name) {
        return images_.clone(of.image, of.id, name);
    }));
    return source_of(stored.record.images.back());
}

Result<> Volume::check_unused(const std::string& image) {
    auto watchers = UNDERSTUDY_VALUE(images_.watchers(image));
    if (watchers.empty()) return {};
    return fail(Error(ErrorKind::refused,
                      fmt::format("image {} is in use from {}", image, watchers.front()))
                    .advising("Stop the VM first; after its host died Ceph lets go of it within "
                              "half a minute."));
}

}  // namespace understudy::rbd
