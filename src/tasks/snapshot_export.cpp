#include "base/shell_word.hpp"
#include "base/version.hpp"
#include "engine/lineage.hpp"
#include "engine/send_plan.hpp"
#include "mover/copy_disk.hpp"
#include "tasks/arguments.hpp"
#include "tasks/export_directory.hpp"
#include "tasks/kinds.hpp"
#include "tasks/pass.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <filesystem>

// `plan` holds the snapshot and its base and finds the base's own export; `write` makes everything
// in a directory beside the wanted one, from the beginning each time; `put_in_place` renames it.

namespace understudy::tasks {
namespace {

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
}

Result<std::optional<model::Snapshot>> base_of(Work& work) {
    const auto id = id_in<SnapshotId>(work.arguments(), "base");
    if (id.is_nil()) return std::nullopt;
    auto base = work.site().catalog.snapshot(id);
    if (!base) return std::unexpected(std::move(base.error()));
    return std::move(*base);
}

// Beside the wanted one, so that a rename makes it that; one per task.
std::string unfinished(Work& work) {
    return text_in(work.memo(), "directory") + ".partial-" + work.task().id.text();
}

Result<> check_lineage(Site& site, const model::Snapshot& snapshot, const model::Snapshot& base) {
    auto all = site.catalog.snapshots(snapshot.vm);
    if (!all) return std::unexpected(std::move(all.error()));
    for (const auto& ancestor : engine::ancestry(*all, snapshot.id))
        if (ancestor == base.id && base.id != snapshot.id) return {};
    return fail(ErrorKind::invalid, fmt::format("'{}' is no earlier snapshot on the way to '{}'",
                                                base.name, snapshot.name));
}

Result<> check_base_files(Site& site, const Export& base, const std::string& format) {
    for (const auto& disk : base.disks) {
        const auto& file = disk.files.front();
        if (file.format != format)
            return fail(ErrorKind::invalid,
                        fmt::format("{} holds {} files; a chain is of one format", base.directory,
                                    file.format));
        const auto name = std::filesystem::path(file.path).filename().string();
        auto names = site.directories->list(base.directory);
        if (!names) return std::unexpected(std::move(names.error()));
        if (std::find(names->begin(), names->end(), name) == names->end())
            return fail(ErrorKind::not_found, fmt::format("{} is gone", file.path));
    }
    return {};
}

Result<> find_base_export(Work& work, const model::Snapshot& base) {
    auto& site = work.site();
    const auto format_name = text_in(work.arguments(), "format");
    const auto directory = text_in(work.memo(), "directory");
    auto found = find_export_of(site, base.id, directory, "",
                                text_in(work.arguments(), "base_directory"), format_name);
    if (!found) return std::unexpected(std::move(found.error()));
    if (!*found) {
        if (!site.formats.at(format_name)->needs_base_file()) return {};
        return fail(Error(ErrorKind::not_found,
                          fmt::format("the export of '{}' is not beside {}", base.name, directory))
                        .advising(fmt::format("A {} file names the one that it builds on: say with "
                                              "--base-dir where it is, or export '{}' first.",
                                              format_name, base.name)));
    }
    UNDERSTUDY_TRY(check_base_files(site, **found, format_name));
    work.memo()["base_directory"] = (*found)->directory;
    return {};
}

Result<> plan(Work& work) {
    auto& site = work.site();
    auto directory = site.directories->resolve(text_in(work.arguments(), "directory"));
    if (!directory) return std::unexpected(std::move(directory.error()));
    auto is_free = site.directories->is_free(*directory);
    if (!is_free) return std::unexpected(std::move(is_free.error()));
    if (!*is_free)
        return fail(Error(ErrorKind::refused, *directory + " exists and is not empty")
                        .keeping("what is there")
                        .advising("Name a directory that does not exist yet."));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    UNDERSTUDY_TRY(hold_for_task(work, snapshot->id));
    work.memo()["directory"] = *directory;
    auto base = base_of(work);
    if (!base) return std::unexpected(std::move(base.error()));
    if (!*base) return {};
    UNDERSTUDY_TRY(check_lineage(site, *snapshot, **base));
    UNDERSTUDY_TRY(hold_for_task(work, (*base)->id));
    return find_base_export(work, **base);
}

// As seen from the new directory, which will stand beside where it is made.
std::string relative_base(Work& work) {
    const auto base = text_in(work.memo(), "base_directory");
    if (base.empty()) return {};
    return std::filesystem::path(base)
        .lexically_relative(text_in(work.memo(), "directory"))
        .string();
}

// The name of the base's file of this volume, as seen from the new directory.
Result<std::string> base_file(Work& work, const VolumeId& volume) {
    const auto base = text_in(work.memo(), "base_directory");
    if (base.empty()) return std::string();
    auto exported = read_own_export(work.site(), base);
    if (!exported) return std::unexpected(std::move(exported.error()));
    for (const auto& disk : exported->disks)
        if (disk.disk.volume == volume)
            return relative_base(work) + "/" +
                   std::filesystem::path(disk.files.front().path).filename().string();
    return fail(ErrorKind::corrupt,
                fmt::format("{} does not have all disks of its snapshot", base));
}

Result<ByteSize> data_of(ports::ExtentStream& extents) {
    ByteSize data;
    while (true) {
        auto extent = extents.next();
        if (!extent) return std::unexpected(std::move(extent.error()));
        if (!*extent) return data;
        if ((*extent)->kind == model::ExtentKind::data) data += (*extent)->length;
    }
}

Result<std::uint64_t> expected(Work& work, const model::Snapshot& snapshot,
                               const std::optional<model::Snapshot>& base) {
    std::uint64_t total = 0;
    for (const auto& disk : snapshot.disks) {
        auto pool = work.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto extents = (*pool)->changes(disk.volume, engine::base_of_disk(base, disk.volume),
                                        snapshot.id, ByteOffset(0));
        if (!extents) return std::unexpected(std::move(extents.error()));
        auto data = data_of(**extents);
        if (!data) return std::unexpected(std::move(data.error()));
        total += 2 * data->count();  // written, then summed up
    }
    return total;
}

Result<ExportedDisk> write_disk(Work& work, const model::Snapshot& snapshot,
                                const model::SnapshotDisk& disk,
                                const std::optional<SnapshotId>& since, Pass& pass) {
    auto& site = work.site();
    const auto format_name = text_in(work.arguments(), "format");
    auto& format = *site.formats.at(format_name);
    auto pool = site.pool(disk.pool);
    if (!pool) return std::unexpected(std::move(pool.error()));
    auto reader = (*pool)->open_snapshot(disk.volume, snapshot.id);
    if (!reader) return std::unexpected(std::move(reader.error()));
    auto extents = (*pool)->changes(disk.volume, since, snapshot.id, ByteOffset(0));
    if (!extents) return std::unexpected(std::move(extents.error()));
    const auto name = is_plain_name(disk.target) ? disk.target : disk.volume.text();
    ports::NewDiskFile file{unfinished(work) + "/" + name + "." + format.ending(), disk.size,
                            snapshot.id, std::nullopt};
    if (since) {
        auto below = base_file(work, disk.volume);
        if (!below) return std::unexpected(std::move(below.error()));
        file.base = ports::NewDiskFile::Base{*since, *below};
    }
    auto incoming = format.create(file);
    if (!incoming) return std::unexpected(std::move(incoming.error()));
    auto& from = **reader;
    auto copied = mover::copy_disk(
        {disk.size, std::move(*extents), !since,
         [&from](ByteOffset at, std::span<std::byte> into) { return from.read(at, into); },
         [&from](ByteOffset at, ByteSize length) { from.prefetch(at, length); }},
        {**incoming, disk.size}, pass.counting(disk.target));
    if (!copied) return std::unexpected(std::move(copied.error()));
    UNDERSTUDY_TRY((*incoming)->publish());
    auto sum = site.directories->sum(file.path, pass.counting(disk.target));
    if (!sum) return std::unexpected(std::move(sum.error()));
    return ExportedDisk{disk,
                        {{file.path, format_name, {}, std::move(*sum)}},
                        !since,
                        std::move(copied->digest),
                        copied->data};
}

Result<Export> described(Work& work, const model::Snapshot& snapshot,
                         const std::optional<model::Snapshot>& base) {
    auto& site = work.site();
    auto vm = site.catalog.vm(snapshot.vm);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto definition = site.catalog.definition(snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    Export exported;
    exported.directory = unfinished(work);
    exported.vm = vm->id;
    exported.vm_name = vm->name;
    exported.ownership = vm->ownership;
    exported.snapshot = snapshot;
    exported.definition = std::move(*definition);
    if (base) exported.base = Export::Base{base->id, base->name, relative_base(work)};
    return exported;
}

// The manifest, and the sums of all files, in the end of which it is one.
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
    auto manifest =
        directories.sum(directory + "/" + kManifest, [](ByteSize) { return Result<>{}; });
    if (!manifest) return std::unexpected(std::move(manifest.error()));
    sums += fmt::format("{}  {}\n", manifest->sha256, kManifest);
    work.memo()["sums"] = sums;
    return directories.write_text(directory + "/" + kSums, sums);
}

Result<> write(Work& work) {
    auto& directories = *work.site().directories;
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto base = base_of(work);
    if (!base) return std::unexpected(std::move(base.error()));
    auto exported = described(work, *snapshot, *base);
    if (!exported) return std::unexpected(std::move(exported.error()));
    UNDERSTUDY_TRY(directories.remove(unfinished(work)));
    UNDERSTUDY_TRY(directories.make(unfinished(work)));
    auto total = expected(work, *snapshot, *base);
    if (!total) return std::unexpected(std::move(total.error()));
    Pass pass(work, *total);
    ByteSize data;
    ByteSize files;
    for (const auto& disk : snapshot->disks) {
        auto written =
            write_disk(work, *snapshot, disk, engine::base_of_disk(*base, disk.volume), pass);
        if (!written) return fail(std::move(written.error()).during("write " + disk.target));
        data += written->data;
        files += written->files.front().sum->size;
        exported->disks.push_back(std::move(*written));
    }
    work.result()["bytes"] = data;
    work.memo()["bytes"] = data;
    work.memo()["file_bytes"] = files;
    return write_words(work, *exported);
}

Result<> let_go(Work& work) {
    UNDERSTUDY_TRY(let_go_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot")));
    const auto base = id_in<SnapshotId>(work.arguments(), "base");
    return base.is_nil() ? Result<>{} : let_go_for_task(work, base);
}

// Whether an attempt before a crash got as far as the rename.
bool is_in_place(Work& work, const std::string& directory) {
    const auto sums = text_in(work.memo(), "sums");
    auto there = work.site().directories->read_text(directory + "/" + kSums, sums.size());
    return there && *there == sums;
}

Result<> put_in_place(Work& work) {
    const auto directory = text_in(work.memo(), "directory");
    if (!is_in_place(work, directory))
        UNDERSTUDY_TRY(work.site().directories->put_in_place(unfinished(work), directory));
    UNDERSTUDY_TRY(let_go(work));
    auto& result = work.result();
    result["directory"] = directory;
    result["format"] = text_in(work.arguments(), "format");
    result["kind"] = id_in<SnapshotId>(work.arguments(), "base").is_nil() ? "full" : "incremental";
    result["bytes"] = number_in(work.memo(), "bytes");
    result["file_bytes"] = number_in(work.memo(), "file_bytes");
    return {};
}

Result<> clean_up(Work& work) {
    if (!text_in(work.memo(), "directory").empty())
        UNDERSTUDY_TRY(work.site().directories->remove(unfinished(work)));
    UNDERSTUDY_TRY(let_go(work));
    work.begin_again();
    return {};
}

}  // namespace

Kind snapshot_export() {
    return Kind{kSnapshotExport,
                {{"plan", plan}, {"write", write}, {"put_in_place", put_in_place}},
                clean_up,
                true};
}

}  // namespace understudy::tasks
