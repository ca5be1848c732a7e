#include "storage/rbd/volume_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

// A volume's record as a value: finding images and snapshots in it, changing it, writing and
// reading it. Pure: no I/O. The keys and the words for roles and states are stored in Ceph and must
// not be changed. read_record refuses another version, an image without a name or named twice, and
// a snapshot of an image that is not there.

namespace understudy::rbd {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

constexpr std::array<std::pair<ImageRole, std::string_view>, 8> kRoles{{
    {ImageRole::making, "making"},
    {ImageRole::idle, "idle"},
    {ImageRole::dirty, "dirty"},
    {ImageRole::head, "head"},
    {ImageRole::incoming, "incoming"},
    {ImageRole::drill, "drill"},
    {ImageRole::successor, "successor"},
    {ImageRole::doomed, "doomed"},
}};

constexpr std::array<std::pair<SnapshotState, std::string_view>, 3> kStates{{
    {SnapshotState::listed, "listed"},
    {SnapshotState::taking, "taking"},
    {SnapshotState::unwanted, "unwanted"},
}};

template <class Value, std::size_t count>
std::string_view word_for(const std::array<std::pair<Value, std::string_view>, count>& words,
                          Value value) {
    return std::ranges::find(words, value, &std::pair<Value, std::string_view>::first)->second;
}

template <class Value, std::size_t count>
Value value_of(const std::array<std::pair<Value, std::string_view>, count>& words,
               const std::string& word) {
    const auto found = std::ranges::find(words, word, &std::pair<Value, std::string_view>::second);
    if (found == words.end()) throw std::invalid_argument("unknown word '" + word + "'");
    return found->first;
}

void put(json& out, const char* key, const SnapshotId& id) {
    if (!id.is_nil()) out[key] = id.text();
}

SnapshotId id_in(const json& object, const char* key) {
    if (!object.contains(key)) return {};
    auto id = SnapshotId::parse(object.at(key).get<std::string>());
    if (!id) throw std::invalid_argument(id.error().what());
    return *id;
}

json to_json(const VolumeImage& image) {
    json out{{"name", image.name}, {"role", word_for(kRoles, image.role)}};
    if (image.adopted) out["adopted"] = true;
    if (!image.parent.empty()) out["parent"] = image.parent;
    put(out, "snapshot", image.snapshot);
    put(out, "base", image.base);
    put(out, "lineage", image.lineage);
    if (image.size.count() > 0) out["size"] = image.size.count();
    return out;
}

VolumeImage image_from(const json& in) {
    return VolumeImage{.name = in.at("name").get<std::string>(),
                       .adopted = in.value("adopted", false),
                       .role = value_of(kRoles, in.at("role").get<std::string>()),
                       .parent = in.value("parent", std::string()),
                       .snapshot = id_in(in, "snapshot"),
                       .base = id_in(in, "base"),
                       .lineage = id_in(in, "lineage"),
                       .size = ByteSize(in.value("size", std::uint64_t(0)))};
}

json to_json(const VolumeSnapshot& snapshot) {
    json out{{"id", snapshot.id.text()},
             {"image", snapshot.image},
             {"size", snapshot.size.count()},
             {"state", word_for(kStates, snapshot.state)}};
    put(out, "parent", snapshot.parent);
    if (snapshot.late) out["late"] = true;
    return out;
}

VolumeSnapshot snapshot_from(const json& in) {
    return VolumeSnapshot{.id = id_in(in, "id"),
                          .image = in.at("image").get<std::string>(),
                          .size = ByteSize(in.at("size").get<std::uint64_t>()),
                          .parent = id_in(in, "parent"),
                          .state = value_of(kStates, in.at("state").get<std::string>()),
                          .late = in.value("late", false)};
}

void check(const VolumeRecord& record) {
    std::set<std::string_view> seen;
    for (const auto& image : record.images)
        if (image.name.empty() || !seen.insert(image.name).second)
            throw std::invalid_argument("an image without a name, or twice");
    for (const auto& snapshot : record.snapshots)
        if (!seen.contains(snapshot.image) || snapshot.id.is_nil())
            throw std::invalid_argument("a snapshot of an image that does not exist");
}

}  // namespace

const VolumeImage* VolumeRecord::image(std::string_view name) const {
    const auto found = std::ranges::find(images, name, &VolumeImage::name);
    return found == images.end() ? nullptr : &*found;
}

VolumeImage* VolumeRecord::image(std::string_view name) {
    return const_cast<VolumeImage*>(std::as_const(*this).image(name));
}

const VolumeImage* VolumeRecord::find(ImageRole role) const {
    const auto found = std::ranges::find(images, role, &VolumeImage::role);
    return found == images.end() ? nullptr : &*found;
}

VolumeImage* VolumeRecord::find(ImageRole role) {
    return const_cast<VolumeImage*>(std::as_const(*this).find(role));
}

VolumeImage* VolumeRecord::incoming(const SnapshotId& id) {
    const auto found = std::ranges::find_if(images, [&](const VolumeImage& image) {
        return image.role == ImageRole::incoming && image.snapshot == id;
    });
    return found == images.end() ? nullptr : &*found;
}

const VolumeSnapshot* VolumeRecord::find(SnapshotState state, const SnapshotId& id) const {
    const auto found = std::ranges::find_if(snapshots, [&](const VolumeSnapshot& snapshot) {
        return snapshot.state == state && snapshot.id == id;
    });
    return found == snapshots.end() ? nullptr : &*found;
}

VolumeSnapshot* VolumeRecord::find(SnapshotState state, const SnapshotId& id) {
    return const_cast<VolumeSnapshot*>(std::as_const(*this).find(state, id));
}

const VolumeSnapshot* VolumeRecord::taking() const {
    const auto found = std::ranges::find(snapshots, SnapshotState::taking, &VolumeSnapshot::state);
    return found == snapshots.end() ? nullptr : &*found;
}

const VolumeSnapshot* VolumeRecord::newest_of(std::string_view image) const {
    const VolumeSnapshot* newest = nullptr;
    for (const auto& snapshot : snapshots)
        if (snapshot.image == image && snapshot.state == SnapshotState::listed) newest = &snapshot;
    return newest;
}

bool VolumeRecord::has_snapshots(std::string_view image) const {
    return std::ranges::any_of(snapshots, [&](const VolumeSnapshot& snapshot) {
        return snapshot.image == image && !snapshot.late;
    });
}

bool VolumeRecord::is_ancestor(const SnapshotId& base, const SnapshotId& of) const {
    // Bounded, because a damaged record may hold a circle.
    const auto* at = listed(of);
    for (std::size_t step = 0; at && step <= snapshots.size(); ++step) {
        if (at->id == base) return true;
        at = at->parent.is_nil() ? nullptr : listed(at->parent);
    }
    return false;
}

void VolumeRecord::unlist(const SnapshotId& id) {
    auto* removed = find(SnapshotState::listed, id);
    if (!removed) return;
    removed->state = SnapshotState::unwanted;
    for (auto& snapshot : snapshots)
        if (snapshot.parent == id) snapshot.parent = removed->parent;
    for (auto& image : images) {
        if (image.lineage == id) image.lineage = removed->parent;
        if (image.role == ImageRole::head && image.snapshot == id) image.snapshot = {};
        if (image.role == ImageRole::idle && image.base == id && !image.adopted)
            image.role = ImageRole::dirty;
    }
    if (rollback == id) rollback = {};
}

void VolumeRecord::remove_image(std::string_view name) {
    std::erase_if(snapshots, [&](const auto& snapshot) { return snapshot.image == name; });
    std::erase_if(images, [&](const auto& image) { return image.name == name; });
}

std::set<std::string> VolumeRecord::image_names() const {
    std::set<std::string> names;
    for (const auto& image : images) names.insert(image.name);
    return names;
}

std::string write_record(const VolumeRecord& record) {
    json images = json::array();
    for (const auto& image : record.images) images.push_back(to_json(image));
    json snapshots = json::array();
    for (const auto& snapshot : record.snapshots) snapshots.push_back(to_json(snapshot));
    json out{{"version", kVersion},
             {"vm_name", record.label.vm_name},
             {"disk_target", record.label.disk_target},
             {"images", std::move(images)},
             {"snapshots", std::move(snapshots)}};
    put(out, "rollback", record.rollback);
    if (record.mending) {
        json mending{{"snapshot", record.mending->snapshot.text()},
                     {"patch", record.mending->patch.text()}};
        put(mending, "replaced", record.mending->replaced);
        out["mending"] = std::move(mending);
    }
    if (record.removing) out["removing"] = true;
    // A VM's name that is not UTF-8 must not make the volume unwritable: it is only a label.
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<VolumeRecord> read_record(std::string_view text) {
    try {
        const auto in = json::parse(text);
        if (const auto version = in.at("version").get<int>(); version != kVersion)
            return fail(
                Error(ErrorKind::unsupported,
                      fmt::format("its version is {}, this program knows {}", version, kVersion))
                    .advising("Use the version of Understudy that wrote it, or newer."));
        VolumeRecord record;
        record.label = {.vm_name = in.value("vm_name", ""),
                        .disk_target = in.value("disk_target", "")};
        for (const auto& image : in.at("images")) record.images.push_back(image_from(image));
        for (const auto& snapshot : in.at("snapshots"))
            record.snapshots.push_back(snapshot_from(snapshot));
        record.rollback = id_in(in, "rollback");
        if (in.contains("mending"))
            record.mending = VolumeMending{.snapshot = id_in(in["mending"], "snapshot"),
                                           .patch = id_in(in["mending"], "patch"),
                                           .replaced = id_in(in["mending"], "replaced")};
        record.removing = in.value("removing", false);
        check(record);
        return record;
    } catch (const std::exception& problem) {  // nlohmann's own, and those thrown above
        return fail(ErrorKind::corrupt, problem.what());
    }
}

}  // namespace understudy::rbd
