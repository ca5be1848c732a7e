#include "storage/qcow2/volume_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

// volume.json as a value: finding layers in it, changing it, writing and reading it. Pure: no I/O.
// The keys and the names of roles are on disk and must not be changed. read_record refuses another
// version, and a record that contradicts itself: a layer that is there twice or lies outside of the
// directory, a parent that does not come before its child, a merge of unknown layers.

namespace understudy::qcow2 {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

constexpr std::array<std::pair<LayerRole, std::string_view>, 7> kRoles{{
    {LayerRole::snapshot, "snapshot"},
    {LayerRole::unnamed, "unnamed"},
    {LayerRole::head, "head"},
    {LayerRole::drill, "drill"},
    {LayerRole::successor, "successor"},
    {LayerRole::prepared, "prepared"},
    {LayerRole::incoming, "incoming"},
}};

std::string_view role_name(LayerRole role) {
    for (const auto& [known, name] : kRoles)
        if (known == role) return name;
    return "unnamed";
}

std::optional<LayerRole> role_from(std::string_view text) {
    for (const auto& [role, name] : kRoles)
        if (name == text) return role;
    return std::nullopt;
}

json to_json(const VolumeLayer& layer) {
    json out{{"file", layer.file},
             {"format", layer.format},
             {"size", layer.size.count()},
             {"role", role_name(layer.role)}};
    if (layer.adopted) out["adopted"] = true;
    if (!layer.parent.empty()) out["parent"] = layer.parent;
    if (!layer.snapshot.is_nil()) out["snapshot"] = layer.snapshot.text();
    if (!layer.base.is_nil()) out["base"] = layer.base.text();
    return out;
}

SnapshotId id_in(const json& object, const char* key) {
    if (!object.contains(key)) return {};
    auto id = SnapshotId::parse(object.at(key).get<std::string>());
    if (!id) throw std::invalid_argument(id.error().what());
    return *id;
}

VolumeLayer layer_from(const json& in) {
    const auto role = role_from(in.at("role").get<std::string>());
    if (!role) throw std::invalid_argument("unknown role of a layer");
    return VolumeLayer{.file = in.at("file").get<std::string>(),
                       .format = in.at("format").get<std::string>(),
                       .adopted = in.value("adopted", false),
                       .parent = in.value("parent", std::string()),
                       .size = ByteSize(in.at("size").get<std::uint64_t>()),
                       .role = *role,
                       .snapshot = id_in(in, "snapshot"),
                       .base = id_in(in, "base")};
}

void check(const VolumeRecord& record) {
    std::set<std::string_view> seen;
    for (const auto& layer : record.layers) {
        if (layer.file.empty()) throw std::invalid_argument("a layer without a file");
        if (!layer.adopted && layer.file.contains('/'))
            throw std::invalid_argument("a layer outside its directory");
        if (!layer.parent.empty() && !seen.contains(layer.parent))
            throw std::invalid_argument("a layer on one that does not exist");
        if (!seen.insert(layer.file).second) throw std::invalid_argument("a layer twice");
    }
    if (record.merge && (!seen.contains(record.merge->base) || !seen.contains(record.merge->top)))
        throw std::invalid_argument("a merge of layers that do not exist");
}

}  // namespace

const VolumeLayer* VolumeRecord::find_file(std::string_view file) const {
    const auto found = std::ranges::find(layers, file, &VolumeLayer::file);
    return found == layers.end() ? nullptr : &*found;
}

VolumeLayer* VolumeRecord::find_file(std::string_view file) {
    return const_cast<VolumeLayer*>(std::as_const(*this).find_file(file));
}

const VolumeLayer* VolumeRecord::find(LayerRole role) const {
    const auto found = std::ranges::find(layers, role, &VolumeLayer::role);
    return found == layers.end() ? nullptr : &*found;
}

VolumeLayer* VolumeRecord::find(LayerRole role) {
    return const_cast<VolumeLayer*>(std::as_const(*this).find(role));
}

const VolumeLayer* VolumeRecord::find(LayerRole role, const SnapshotId& snapshot) const {
    const auto found = std::ranges::find_if(layers, [&](const VolumeLayer& layer) {
        return layer.role == role && layer.snapshot == snapshot;
    });
    return found == layers.end() ? nullptr : &*found;
}

VolumeLayer* VolumeRecord::find(LayerRole role, const SnapshotId& snapshot) {
    return const_cast<VolumeLayer*>(std::as_const(*this).find(role, snapshot));
}

std::vector<const VolumeLayer*> VolumeRecord::children_of(std::string_view file) const {
    std::vector<const VolumeLayer*> children;
    for (const auto& layer : layers)
        if (layer.parent == file) children.push_back(&layer);
    return children;
}

bool VolumeRecord::is_above(const VolumeLayer& upper, std::string_view lower) const {
    for (const VolumeLayer* at = &upper; at;
         at = at->parent.empty() ? nullptr : find_file(at->parent))
        if (at->file == lower) return true;
    return false;
}

bool VolumeRecord::is_under_head(std::string_view file) const {
    const auto* head = find(LayerRole::head);
    return head && is_above(*head, file);
}

void VolumeRecord::remove(std::string_view file) {
    std::erase_if(layers, [&](const VolumeLayer& layer) { return layer.file == file; });
}

void VolumeRecord::finish_merge() {
    const auto top = *find_file(merge->top);
    auto& base = *find_file(merge->base);
    base.role = top.role;
    base.snapshot = top.snapshot;
    base.size = top.size;
    for (auto& layer : layers)
        if (layer.parent == top.file) layer.parent = base.file;
    remove(top.file);
    merge.reset();
}

std::string write_record(const VolumeRecord& record) {
    json layers = json::array();
    for (const auto& layer : record.layers) layers.push_back(to_json(layer));
    json out{{"version", kVersion},
             {"vm_name", record.label.vm_name},
             {"disk_target", record.label.disk_target},
             {"layers", std::move(layers)}};
    if (record.merge)
        out["merge"] = {
            {"base", record.merge->base}, {"top", record.merge->top}, {"live", record.merge->live}};
    if (record.merge && !record.merge->seal.empty()) out["merge"]["seal"] = record.merge->seal;
    // A VM's name that is not UTF-8 must not make the volume unwritable: it is only a label.
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
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
        for (const auto& layer : in.at("layers")) record.layers.push_back(layer_from(layer));
        if (in.contains("merge"))
            record.merge = PendingMerge{.base = in["merge"].at("base").get<std::string>(),
                                        .top = in["merge"].at("top").get<std::string>(),
                                        .live = in["merge"].at("live").get<bool>(),
                                        .seal = in["merge"].value("seal", std::string())};
        check(record);
        return record;
    } catch (const std::exception& problem) {  // nlohmann's own, and those thrown above
        return fail(ErrorKind::corrupt, problem.what());
    }
}

}  // namespace understudy::qcow2
