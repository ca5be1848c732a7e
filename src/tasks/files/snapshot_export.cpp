#include "base/shell_word.hpp"
#include "base/version.hpp"
#include "engine/lineage.hpp"
#include "engine/send_plan.hpp"
#include "mover/copy_disk.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/files/export_directory.hpp"
#include "tasks/files/kinds.hpp"
#include "tasks/queue/pass.hpp"
#include "tasks/records/file_records.hpp"

#include <fmt/format.h>

#include <filesystem>

// `plan` holds the snapshot and its base and finds the base's own export; `write` makes everything
// in a directory beside the wanted one, from the beginning each time; `put_in_place` renames it.

namespace understudy::tasks {
namespace {

const SnapshotExportArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotExportArguments>();
}

SnapshotExportMemo& memo_of(Work& work) {
    return work.memo<SnapshotExportMemo>();
}

SnapshotExportResult& result_of(Work& work) {
    return work.result<SnapshotExportResult>();
}

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(arguments_of(work).snapshot);
}

Result<std::optional<model::Snapshot>> base_of(Work& work) {
    const auto& id = arguments_of(work).base;
    if (!id) return std::nullopt;
    auto base = UNDERSTUDY_VALUE(work.site().catalog.snapshot(*id));
    return base;
}

// The directory in which the export is made. It is beside the wanted one, so that a rename is
// enough. Each task has its own.
std::string unfinished(Work& work) {
    return memo_of(work).directory + ".partial-" + work.task().id.text();
}

Result<> check_lineage(Site& site, const model::Snapshot& snapshot, const model::Snapshot& base) {
    auto all = UNDERSTUDY_VALUE(site.catalog.snapshots(snapshot.vm));
    for (const auto& ancestor : engine::ancestry(all, snapshot.id))
        if (ancestor == base.id && base.id != snapshot.id) return {};
    return fail(ErrorKind::invalid, fmt::format("'{}' is no earlier snapshot on the way to '{}'",
                                                base.name, snapshot.name));
}

Result<> check_base_files(Site& site, const Export& base, const std::string& format) {
    for (const auto& disk : base.disks) {
        const auto& file = disk.files.front();
        if (file.format != format)
            return fail(ErrorKind::invalid, fmt::format("{} contains files in format {}; all files "
                                                        "of a chain must have the same format",
                                                        base.directory, file.format));
        const auto name = std::filesystem::path(file.path).filename().string();
        auto names = UNDERSTUDY_VALUE(site.directories->list(base.directory));
        if (std::find(names.begin(), names.end(), name) == names.end())
            return fail(ErrorKind::not_found, fmt::format("{} is gone", file.path));
    }
    return {};
}

Result<> find_base_export(Work& work, const model::Snapshot& base) {
    auto& site = work.site();
    const auto format_name = arguments_of(work).format;
    const auto directory = memo_of(work).directory;
    auto found = UNDERSTUDY_VALUE(find_export_of(site, base.id, directory, "",
                                                 arguments_of(work).base_directory, format_name));
    if (!found) {
        if (!site.formats.at(format_name)->needs_base_file()) return {};
        return fail(Error(ErrorKind::not_found,
                          fmt::format("the export of '{}' is not beside {}", base.name, directory))
                        .advising(fmt::format(
                            "A {} file contains the path of its base. Say with --base-dir where "
                            "the base's export is, or export '{}' first.",
                            format_name, base.name)));
    }
    UNDERSTUDY_TRY(check_base_files(site, *found, format_name));
    memo_of(work).base_directory = found->directory;
    return {};
}

Result<> plan(Work& work) {
    auto& site = work.site();
    auto directory = UNDERSTUDY_VALUE(site.directories->resolve(arguments_of(work).directory));
    auto is_free = UNDERSTUDY_VALUE(site.directories->is_free(directory));
    if (!is_free)
        return fail(Error(ErrorKind::refused, directory + " exists and is not empty")
                        .keeping("what is there")
                        .advising("Name a directory that does not exist yet."));
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    UNDERSTUDY_TRY(hold_for_task(work, snapshot.id));
    memo_of(work).directory = directory;
    auto base = UNDERSTUDY_VALUE(base_of(work));
    if (!base) return {};
    UNDERSTUDY_TRY(check_lineage(site, snapshot, *base));
    UNDERSTUDY_TRY(hold_for_task(work, base->id));
    return find_base_export(work, *base);
}

// The path of the base's export, relative to the export that is being made.
std::string relative_base(Work& work) {
    const auto base = memo_of(work).base_directory;
    if (base.empty()) return {};
    return std::filesystem::path(base).lexically_relative(memo_of(work).directory).string();
}

// The name of the base's file of this volume, as seen from the new directory.
Result<std::string> base_file(Work& work, const VolumeId& volume) {
    const auto base = memo_of(work).base_directory;
    if (base.empty()) return std::string();
    auto exported = UNDERSTUDY_VALUE(read_own_export(work.site(), base));
    for (const auto& disk : exported.disks)
        if (disk.disk.volume == volume)
            return relative_base(work) + "/" +
                   std::filesystem::path(disk.files.front().path).filename().string();
    return fail(ErrorKind::corrupt,
                fmt::format("{} does not have all disks of its snapshot", base));
}

Result<ByteSize> data_of(ports::ExtentStream& extents) {
    ByteSize data;
    while (true) {
        auto extent = UNDERSTUDY_VALUE(extents.next());
        if (!extent) return data;
        if (extent->kind == model::ExtentKind::data) data += extent->length;
    }
}

Result<std::uint64_t> expected(Work& work, const model::Snapshot& snapshot,
                               const std::optional<model::Snapshot>& base) {
    std::uint64_t total = 0;
    for (const auto& disk : snapshot.disks) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        auto extents = UNDERSTUDY_VALUE(pool->changes(
            disk.volume, engine::base_of_disk(base, disk.volume), snapshot.id, ByteOffset(0)));
        auto data = UNDERSTUDY_VALUE(data_of(*extents));
        total += 2 * data.count();  // written, then summed up
    }
    return total;
}

Result<ExportedDisk> write_disk(Work& work, const model::Snapshot& snapshot,
                                const model::SnapshotDisk& disk,
                                const std::optional<SnapshotId>& since, Pass& pass) {
    auto& site = work.site();
    const auto format_name = arguments_of(work).format;
    auto& format = *site.formats.at(format_name);
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    auto reader = UNDERSTUDY_VALUE(pool->open_snapshot(disk.volume, snapshot.id));
    auto extents = UNDERSTUDY_VALUE(pool->changes(disk.volume, since, snapshot.id, ByteOffset(0)));
    const auto name = is_plain_name(disk.target) ? disk.target : disk.volume.text();
    ports::NewDiskFile file{unfinished(work) + "/" + name + "." + format.ending(), disk.size,
                            snapshot.id, std::nullopt};
    if (since) {
        auto below = UNDERSTUDY_VALUE(base_file(work, disk.volume));
        file.base = ports::NewDiskFile::Base{*since, below};
    }
    auto incoming = UNDERSTUDY_VALUE(format.create(file));
    auto& from = *reader;
    auto copied = UNDERSTUDY_VALUE(mover::copy_disk(
        {disk.size, std::move(extents), !since,
         [&from](ByteOffset at, std::span<std::byte> into) { return from.read(at, into); },
         [&from](ByteOffset at, ByteSize length) { from.prefetch(at, length); }},
        {*incoming, disk.size}, pass.counting(disk.target)));
    UNDERSTUDY_TRY(incoming->publish());
    auto sum = UNDERSTUDY_VALUE(site.directories->sum(file.path, pass.counting(disk.target)));
    return ExportedDisk{disk,
                        {{file.path, format_name, {}, std::move(sum)}},
                        !since,
                        std::move(copied.digest),
                        copied.data};
}

Result<Export> described(Work& work, const model::Snapshot& snapshot,
                         const std::optional<model::Snapshot>& base) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(snapshot.vm));
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    Export exported;
    exported.directory = unfinished(work);
    exported.vm = vm.id;
    exported.vm_name = vm.name;
    exported.ownership = vm.ownership;
    exported.snapshot = snapshot;
    exported.definition = std::move(definition);
    if (base) exported.base = Export::Base{base->id, base->name, relative_base(work)};
    return exported;
}

// Writes the manifest and then SHA256SUMS, which also has the sum of the manifest. With that file
// the directory is a complete export.
Result<> write_words(Work& work, const Export& exported) {
    auto& site = work.site();
    auto& directories = *site.directories;
    const auto directory = unfinished(work);
    const auto made_by = fmt::format("understudyd {} on node '{}' of cluster '{}' ({}), {}",
                                     base::version(), site.settings.node, site.cluster.name,
                                     site.cluster.id.text(), base::format_time(site.clock.now()));
    UNDERSTUDY_TRY(
        directories.write_text(directory + "/" + kManifest, format_manifest(exported, made_by)));
    std::string sums;
    for (const auto& disk : exported.disks)
        sums += fmt::format("{}  {}\n", disk.files.front().sum->sha256,
                            std::filesystem::path(disk.files.front().path).filename().string());
    auto manifest = UNDERSTUDY_VALUE(
        directories.sum(directory + "/" + kManifest, [](ByteSize) { return Result<>{}; }));
    sums += fmt::format("{}  {}\n", manifest.sha256, kManifest);
    memo_of(work).sums = sums;
    return directories.write_text(directory + "/" + kSums, sums);
}

Result<> write(Work& work) {
    auto& directories = *work.site().directories;
    auto snapshot = UNDERSTUDY_VALUE(snapshot_of(work));
    auto base = UNDERSTUDY_VALUE(base_of(work));
    auto exported = UNDERSTUDY_VALUE(described(work, snapshot, base));
    UNDERSTUDY_TRY(directories.remove(unfinished(work)));
    UNDERSTUDY_TRY(directories.make(unfinished(work)));
    auto total = UNDERSTUDY_VALUE(expected(work, snapshot, base));
    Pass pass(work, total);
    ByteSize data;
    ByteSize files;
    for (const auto& disk : snapshot.disks) {
        auto written =
            write_disk(work, snapshot, disk, engine::base_of_disk(base, disk.volume), pass);
        if (!written) return fail(std::move(written.error()).during("write " + disk.target));
        data += written->data;
        files += written->files.front().sum->size;
        exported.disks.push_back(std::move(*written));
    }
    result_of(work).bytes = data.count();
    memo_of(work).bytes = data.count();
    memo_of(work).file_bytes = files.count();
    return write_words(work, exported);
}

Result<> release_holds(Work& work) {
    UNDERSTUDY_TRY(let_go_for_task(work, arguments_of(work).snapshot));
    const auto& base = arguments_of(work).base;
    return base ? let_go_for_task(work, *base) : Result<>{};
}

// Whether an attempt before a crash got as far as the rename.
bool is_in_place(Work& work, const std::string& directory) {
    const auto sums = memo_of(work).sums;
    auto there = work.site().directories->read_text(directory + "/" + kSums, sums.size());
    return there && *there == sums;
}

Result<> put_in_place(Work& work) {
    const auto directory = memo_of(work).directory;
    if (!is_in_place(work, directory))
        UNDERSTUDY_TRY(work.site().directories->put_in_place(unfinished(work), directory));
    UNDERSTUDY_TRY(release_holds(work));
    auto& result = result_of(work);
    result.directory = directory;
    result.format = arguments_of(work).format;
    result.kind = arguments_of(work).base ? "incremental" : "full";
    result.bytes = memo_of(work).bytes;
    result.file_bytes = memo_of(work).file_bytes;
    return {};
}

Result<> clean_up(Work& work) {
    if (!memo_of(work).directory.empty())
        UNDERSTUDY_TRY(work.site().directories->remove(unfinished(work)));
    UNDERSTUDY_TRY(release_holds(work));
    work.begin_again();
    return {};
}

}  // namespace

Kind snapshot_export() {
    return {
        .name = kSnapshotExport,
        .records = records_of<SnapshotExportArguments, SnapshotExportMemo, SnapshotExportResult>(),
        .steps = {{.name = "plan", .run = plan},
                  {.name = "write", .run = write},
                  {.name = "put_in_place", .run = put_in_place}},
        .on_failure = clean_up};
}

}  // namespace understudy::tasks
