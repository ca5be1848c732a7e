#include "model/json.hpp"
#include "tasks/files/export_directory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

// What Parallel Virtual Cluster 1.0 writes: EXPORT/VM/SNAPSHOT/snapshot.json and beside it
// images/POOL.VOLUME.rbdimg (`rbd export --export-format 2`) or images/POOL.VOLUME.rbddiff (`rbd
// export-diff` since the snapshot `incremental_parent`, whose directory is EXPORT/VM/PARENT and
// which is always full). It states no digests.

namespace understudy::tasks {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestDetails = std::size_t{32} << 20;
constexpr const char* kFormat = "rbd";

struct Details {
    std::string directory;
    std::string snapshot;
    std::string parent;  // empty: it is full
    std::string vm_name;
    std::string domain_xml;
    TimePoint taken;
    std::map<std::string, std::string> files;  // "POOL.VOLUME" → "images/POOL.VOLUME.rbdimg"
};

// The snapshot's own entry has the time in seconds.
TimePoint time_taken(const json& vm, const std::string& snapshot) {
    const auto found = vm.find("snapshots");
    if (found == vm.end() || !found->is_array()) return {};
    for (const auto& entry : *found) {
        if (!entry.is_object() || entry.value("name", "") != snapshot) continue;
        const auto stamp = entry.find("timestamp");
        if (stamp == entry.end()) return {};
        const double seconds =
            stamp->is_string() ? std::stod(stamp->get<std::string>()) : stamp->get<double>();
        if (std::isfinite(seconds) && seconds > 0 && seconds < 1e11)
            return TimePoint(Duration(static_cast<std::int64_t>(seconds * 1000)));
    }
    return {};
}

Details parse_details(const std::string& text, const std::string& directory) {
    const auto j = json::parse(text);
    Details details;
    details.directory = directory;
    details.snapshot = j.at("snapshot_name").get<std::string>();
    if (const auto& parent = j.at("incremental_parent"); !parent.is_null())
        details.parent = parent.get<std::string>();
    const auto& vm = j.at("vm_detail");
    details.vm_name = vm.at("name").get<std::string>();
    details.domain_xml = vm.at("xml").get<std::string>();
    details.taken = time_taken(vm, details.snapshot);
    const std::string ending = details.parent.empty() ? ".rbdimg" : ".rbddiff";
    for (const auto& entry : j.at("export_files")) {
        const auto file = entry.at(0).get<std::string>();
        const auto slash = file.find('/');
        const auto name = slash == file.npos ? std::string() : file.substr(slash + 1);
        if (file.substr(0, slash) != "images" || !is_plain_name(name) || !name.ends_with(ending))
            throw std::invalid_argument(fmt::format("file '{}'", file));
        details.files[name.substr(0, name.size() - ending.size())] = file;
    }
    if (details.snapshot.empty() || details.vm_name.empty() || details.files.empty() ||
        (!details.parent.empty() && !is_plain_name(details.parent)))
        throw std::invalid_argument("names or files are missing");
    return details;
}

Result<Details> read_details(Site& site, const std::string& directory) {
    const auto path = directory + "/snapshot.json";
    auto text = UNDERSTUDY_VALUE(site.directories->read_text(path, kLongestDetails));
    try {
        return parse_details(text, directory);
    } catch (const std::exception& exception) {
        return fail(ErrorKind::invalid, fmt::format("{}: {}", path, exception.what()));
    }
}

Result<ExportedFile> file_of(const Details& details, const std::string& volume) {
    const auto found = details.files.find(volume);
    if (found == details.files.end())
        return fail(ErrorKind::invalid,
                    fmt::format("{}/snapshot.json has no file of {}", details.directory, volume));
    return ExportedFile{details.directory + "/" + found->second,
                        kFormat,
                        {details.parent.empty(), details.parent, details.snapshot},
                        std::nullopt};
}

Result<std::optional<Details>> read_parent(Site& site, const Details& details) {
    if (details.parent.empty()) return std::nullopt;
    const auto beside = std::filesystem::path(details.directory).parent_path() / details.parent;
    auto parent = read_details(site, beside.string());
    if (!parent)
        return fail(std::move(parent.error())
                        .during(fmt::format("the full export '{}' that this one is based on",
                                            details.parent))
                        .advising("Put both directories beside each other, under the names that "
                                  "they had when they were exported."));
    if (!parent->parent.empty())
        return fail(ErrorKind::invalid,
                    fmt::format("{} is not a full export either", parent->directory));
    return std::move(*parent);
}

}  // namespace

Result<Export> read_pvc_export(Site& site, const std::string& directory) {
    auto details = UNDERSTUDY_VALUE(read_details(site, directory));
    auto parent = UNDERSTUDY_VALUE(read_parent(site, details));
    auto disks = site.hypervisor.disks_of(details.domain_xml);
    if (!disks) return fail(std::move(disks.error()).during("the definition in snapshot.json"));
    Export exported;
    exported.directory = directory;
    exported.vm_name = details.vm_name;
    exported.snapshot.name = details.snapshot;
    exported.snapshot.taken = details.taken == TimePoint{} ? site.clock.now() : details.taken;
    exported.definition.domain_xml = details.domain_xml;
    for (const auto& disk : *disks) {
        auto volume = disk.source.location;
        std::ranges::replace(volume, '/', '.');
        if (!details.files.contains(volume)) continue;  // another kind of disk: named at import
        ExportedDisk read;
        read.disk.target = disk.target;
        if (parent) {
            auto full = UNDERSTUDY_VALUE(file_of(*parent, volume));
            read.files.push_back(std::move(full));
        }
        auto file = UNDERSTUDY_VALUE(file_of(details, volume));
        read.files.push_back(std::move(file));
        exported.disks.push_back(std::move(read));
        exported.snapshot.disks.push_back(exported.disks.back().disk);
    }
    if (exported.disks.size() != details.files.size())
        return fail(ErrorKind::invalid,
                    fmt::format("{}/snapshot.json has {} files, but {} of the disks in its "
                                "definition",
                                directory, details.files.size(), exported.disks.size()));
    return exported;
}

}  // namespace understudy::tasks
