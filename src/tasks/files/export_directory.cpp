#include "tasks/files/export_directory.hpp"

#include "base/base64.hpp"
#include "base/shell_word.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

// Reads an export's directory, makes the text of its manifest, and finds the export of a snapshot.
// Reading checks the manifest's SHA-256 first and then every field; the disks' files stay closed.
// find_export_of looks in the directory that was given; without one at the hint, and then in all
// directories beside. Nothing is written here, so a crash leaves nothing.

namespace understudy::tasks {
namespace {

using nlohmann::json;

constexpr const char* kFormatName = "understudy-export";
constexpr int kVersion = 1;
constexpr std::size_t kLongestManifest = std::size_t{32} << 20;  // UEFI variables are in it
constexpr std::size_t kMostDisks = 1000;
constexpr std::size_t kSumLength = 64;

template <class AnyId>
AnyId id_of(const json& j) {
    auto id = AnyId::parse(j.get_ref<const std::string&>());
    if (!id) throw std::invalid_argument(id.error().text());
    return *id;
}

json disk_json(const ExportedDisk& exported) {
    const auto& file = exported.files.front();
    return {{"target", exported.disk.target},
            {"volume", exported.disk.volume.text()},
            {"size", exported.disk.size},
            {"file", std::filesystem::path(file.path).filename().string()},
            {"format", file.format},
            {"whole", exported.whole},
            {"file_size", file.sum->size},
            {"sha256", file.sum->sha256},
            {"content", exported.content},
            {"data", exported.data}};
}

bool is_sum(const std::string& text) {
    return text.size() == kSumLength && text.find_first_not_of("0123456789abcdef") == text.npos;
}

ExportedDisk read_disk(Site& site, const json& j, const Export& exported,
                       const model::SnapshotDisk& disk) {
    ExportedDisk read;
    read.disk = disk;
    if (id_of<VolumeId>(j.at("volume")) != disk.volume || j.at("target") != disk.target ||
        j.at("size").get<ByteSize>() != disk.size)
        throw std::invalid_argument(
            "a file's disk is not as the snapshot describes it (volume, target or size)");
    read.whole = j.at("whole").get<bool>();
    read.content = j.at("content").get<std::string>();
    read.data = j.at("data").get<ByteSize>();
    const auto name = j.at("file").get<std::string>();
    const auto sum = j.at("sha256").get<std::string>();
    if (!is_plain_name(name) || !is_sum(sum) || read.content.empty())
        throw std::invalid_argument(fmt::format("the file of disk {}", disk.target));
    if (!read.whole && !exported.base) throw std::invalid_argument("an increment without a base");
    ExportedFile file;
    file.path = exported.directory + "/" + name;
    file.format = j.at("format").get<std::string>();
    file.sum = ports::FileSum{j.at("file_size").get<ByteSize>(), sum};
    const auto format = site.formats.find(file.format);
    if (format == site.formats.end())
        throw std::invalid_argument(fmt::format("disks in format '{}'", file.format));
    file.wanted = {read.whole, read.whole ? "" : format->second->name_of(exported.base->id),
                   format->second->name_of(exported.snapshot.id)};
    read.files.push_back(std::move(file));
    return read;
}

void read_base(const json& j, Export& exported) {
    if (j.is_null()) return;
    exported.base = Export::Base{id_of<SnapshotId>(j.at("snapshot")), j.at("name"), {}};
    if (j.at("directory").is_string()) exported.base->directory = j.at("directory");
}

void read_disks(Site& site, const json& disks, Export& exported) {
    const auto& of_snapshot = exported.snapshot.disks;
    if (!disks.is_array() || disks.size() != of_snapshot.size() || disks.size() > kMostDisks ||
        disks.empty())
        throw std::invalid_argument("there is not exactly one file for each disk");
    std::set<VolumeId> volumes;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        if (!volumes.insert(of_snapshot[i].volume).second)
            throw std::invalid_argument("two disks have the same volume");
        exported.disks.push_back(read_disk(site, disks[i], exported, of_snapshot[i]));
    }
}

Export parse_manifest(Site& site, const std::string& text, const std::string& directory) {
    const auto j = json::parse(text);
    if (j.at("format") != kFormatName)
        throw std::invalid_argument("it is not the manifest of an export");
    if (j.at("version").get<int>() != kVersion)
        throw std::invalid_argument(
            fmt::format("version {} of the format; only a newer understudyd reads it",
                        j.at("version").get<int>()));
    Export exported;
    exported.directory = directory;
    const auto& vm = j.at("vm");
    exported.vm = id_of<VmId>(vm.at("id"));
    exported.vm_name = vm.at("name").get<std::string>();
    exported.ownership = model::Ownership{vm.at("epoch").get<std::uint64_t>(),
                                          id_of<ClusterId>(vm.at("owner")), model::Phase::owned};
    exported.snapshot = j.at("snapshot").get<model::Snapshot>();
    exported.definition.domain_xml = j.at("domain_xml").get<std::string>();
    auto nvram = base::base64_decode(j.at("nvram").get_ref<const std::string&>());
    if (!nvram) throw std::invalid_argument("the UEFI variables");
    exported.definition.nvram = std::move(*nvram);
    read_base(j.at("base"), exported);
    read_disks(site, j.at("disks"), exported);
    const auto& snapshot = exported.snapshot;
    if (snapshot.id.is_nil() || snapshot.name.empty() || snapshot.vm != exported.vm ||
        exported.vm.is_nil() || exported.vm_name.empty() || exported.ownership->owner.is_nil() ||
        exported.ownership->epoch == 0)
        throw std::invalid_argument("ids or names that are missing");
    return exported;
}

// The manifest has no digest of its own; SHA256SUMS has one of each file.
Result<> check_manifest_sum(Site& site, const std::string& directory) {
    auto& directories = *site.directories;
    auto sums = UNDERSTUDY_VALUE(directories.read_text(directory + "/" + kSums, kLongestManifest));
    auto sum = UNDERSTUDY_VALUE(
        directories.sum(directory + "/" + kManifest, [](ByteSize) { return Result<>{}; }));
    if (("\n" + sums).find(fmt::format("\n{}  {}\n", sum.sha256, kManifest)) != sums.npos)
        return {};
    return fail(Error(ErrorKind::corrupt,
                      fmt::format("{}/{} is not what {} says", directory, kManifest, kSums))
                    .advising("The copy is damaged, or was changed. Copy the directory again, or "
                              "export again."));
}

Result<bool> has(Site& site, const std::string& directory, const char* name) {
    auto names = UNDERSTUDY_VALUE(site.directories->list(directory));
    return std::ranges::find(names, name) != names.end();
}

// Nothing also when the directory cannot be read, or holds anything else: the search goes on then.
Result<std::optional<Export>> try_export_of(Site& site, const SnapshotId& snapshot,
                                            const std::string& directory,
                                            const std::string& format) {
    auto resolved = site.directories->resolve(directory);
    if (!resolved) return std::nullopt;
    auto there = has(site, *resolved, kManifest);
    if (!there || !*there) return std::nullopt;
    auto exported = read_own_export(site, *resolved);
    if (!exported || exported->snapshot.id != snapshot) return std::nullopt;
    if (!format.empty() && exported->disks.front().files.front().format != format)
        return std::nullopt;
    return std::move(*exported);
}

}  // namespace

bool is_plain_name(const std::string& name) {
    return !name.empty() && name.size() <= 255 && name.front() != '.' &&
           std::ranges::all_of(name, [](char c) {
               return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && c != '/' && c != '\\';
           });
}

std::string format_manifest(const Export& exported, const std::string& made_by) {
    auto disks = json::array();
    for (const auto& disk : exported.disks) disks.push_back(disk_json(disk));
    json base = nullptr;
    if (exported.base)
        base = {{"snapshot", exported.base->id.text()},
                {"name", exported.base->name},
                {"directory", exported.base->directory.empty() ? json(nullptr)
                                                               : json(exported.base->directory)}};
    const json manifest{{"format", kFormatName},
                        {"version", kVersion},
                        {"made_by", made_by},
                        {"vm",
                         {{"id", exported.vm.text()},
                          {"name", exported.vm_name},
                          {"owner", exported.ownership->owner.text()},
                          {"epoch", exported.ownership->epoch}}},
                        {"snapshot", exported.snapshot},
                        {"domain_xml", exported.definition.domain_xml},
                        {"nvram", base::base64_encode(exported.definition.nvram)},
                        {"base", base},
                        {"disks", disks}};
    return manifest.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<Export> read_own_export(Site& site, const std::string& directory) {
    auto text = UNDERSTUDY_VALUE(
        site.directories->read_text(directory + "/" + kManifest, kLongestManifest));
    UNDERSTUDY_TRY(check_manifest_sum(site, directory));
    try {
        return parse_manifest(site, text, directory);
    } catch (const std::exception& exception) {
        return fail(ErrorKind::invalid,
                    fmt::format("{}/{}: {}", directory, kManifest, exception.what()));
    }
}

Result<Export> read_export(Site& site, const std::string& directory) {
    auto resolved = UNDERSTUDY_VALUE(site.directories->resolve(directory));
    auto own = UNDERSTUDY_VALUE(has(site, resolved, kManifest));
    if (own) return read_own_export(site, resolved);
    auto pvc = UNDERSTUDY_VALUE(has(site, resolved, "snapshot.json"));
    if (pvc) return read_pvc_export(site, resolved);
    return fail(Error(ErrorKind::invalid,
                      fmt::format("{} holds neither {} nor snapshot.json", resolved, kManifest))
                    .advising("Name the directory that `understudy vm snapshot export` made, or "
                              "one of Parallel Virtual Cluster's snapshot exports."));
}

Result<std::optional<Export>> find_export_of(Site& site, const SnapshotId& snapshot,
                                             const std::string& directory, const std::string& hint,
                                             const std::string& given, const std::string& format) {
    if (!given.empty()) {
        auto resolved = UNDERSTUDY_VALUE(site.directories->resolve(given));
        auto exported = UNDERSTUDY_VALUE(read_own_export(site, resolved));
        if (exported.snapshot.id != snapshot)
            return fail(
                ErrorKind::invalid,
                fmt::format("{} contains snapshot '{}' ({}), not the base {}", resolved,
                            exported.snapshot.name, exported.snapshot.id.text(), snapshot.text()));
        return exported;
    }
    if (!hint.empty()) {
        auto found = try_export_of(site, snapshot, directory + "/" + hint, format);
        if (!found || *found) return found;
    }
    const auto parent = std::filesystem::path(directory).parent_path().string();
    auto beside = UNDERSTUDY_VALUE(site.directories->list(parent));
    for (const auto& name : beside) {
        auto found = try_export_of(site, snapshot, parent + "/" + name, format);
        if (!found || *found) return found;
    }
    return std::nullopt;
}

}  // namespace understudy::tasks
