#include "tasks/files/import_parts.hpp"

#include "base/shell_word.hpp"
#include "engine/send_plan.hpp"
#include "mover/copy_disk.hpp"
#include "mover/layer_stack.hpp"
#include "tasks/owners/ownership_news.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

// Which exports an import lays on each other (its chain), and how one disk is copied from them:
// from the bottom up, the base's content first where it has to be copied. A file's SHA-256 is
// checked before it is copied, the digest of its content after; both only where the export states
// them. Nothing is published here: an attempt after a crash copies each disk from the beginning.

namespace understudy::tasks {
namespace {

constexpr std::size_t kLongestChain = 1000;
constexpr std::uint64_t kGrain = model::kGrain.count();

Error damaged(std::string what) {
    return Error(ErrorKind::corrupt, std::move(what))
        .keeping("what was here before; nothing of this import is listed")
        .advising(
            "The copy is damaged, or was changed. Copy the directory again, or export again.");
}

const ExportedDisk* disk_of(const Export& exported, const ExportedDisk& wanted) {
    const auto found = std::ranges::find_if(
        exported.disks, [&](const auto& disk) { return disk.disk.volume == wanted.disk.volume; });
    return found == exported.disks.end() ? nullptr : &*found;
}

Result<> check_sums(Site& site, const ExportedDisk& disk,
                    const std::function<Result<>(ByteSize)>& go_on) {
    for (const auto& file : disk.files) {
        if (!file.sum) continue;
        auto sum = UNDERSTUDY_VALUE(site.directories->sum(file.path, go_on));
        if (sum.size != file.sum->size || sum.sha256 != file.sum->sha256)
            return fail(
                damaged(fmt::format("{} is not what its export says (SHA-256)", file.path)));
    }
    return {};
}

// The disk's files, each a layer or several.
Result<std::vector<std::unique_ptr<ports::DiskLayer>>> open_layers(Site& site,
                                                                   const ExportedDisk& disk) {
    std::vector<std::unique_ptr<ports::DiskLayer>> layers;
    for (const auto& file : disk.files) {
        const auto format = site.formats.find(file.format);
        if (format == site.formats.end())
            return fail(ErrorKind::unsupported, fmt::format("{} is in format '{}', which is not "
                                                            "known here",
                                                            file.path, file.format));
        auto opened = UNDERSTUDY_VALUE(format->second->open(file.path, file.wanted));
        for (auto& layer : opened) layers.push_back(std::move(layer));
    }
    return layers;
}

struct BaseDisk {
    model::SnapshotDisk disk;
    ports::StoragePool* pool;
    std::unique_ptr<ports::Reader> reader;
};

// The disk in the snapshot that the chain is on, if it had it.
Result<std::optional<BaseDisk>> base_disk(Site& site, const ImportChain& chain,
                                          const ExportedDisk& wanted) {
    if (!chain.on) return std::nullopt;
    auto base = UNDERSTUDY_VALUE(site.catalog.snapshot(*chain.on));
    for (const auto& disk : base.disks) {
        if (disk.volume != wanted.disk.volume) continue;
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto reader = UNDERSTUDY_VALUE(pool->open_snapshot(disk.volume, base.id));
        return BaseDisk{disk, pool, std::move(reader)};
    }
    return std::nullopt;
}

Result<> copy_base(const BaseDisk& base, const SnapshotId& id, const mover::CopyTarget& target,
                   const std::function<Result<>(ByteSize)>& go_on) {
    auto extents =
        UNDERSTUDY_VALUE(base.pool->changes(base.disk.volume, std::nullopt, id, ByteOffset(0)));
    auto& from = *base.reader;
    auto copied = UNDERSTUDY_VALUE(mover::copy_disk(
        {base.disk.size, std::move(extents), true,
         [&from](ByteOffset at, std::span<std::byte> into) { return from.read(at, into); },
         [&from](ByteOffset at, ByteSize length) { from.prefetch(at, length); }},
        target, go_on));
    return {};
}

// The next layer may be larger. Then the bytes beyond the end of this layer must read as zeroes,
// not as the bytes of a lower layer.
Result<> end_at(const mover::CopyTarget& target, ByteSize size) {
    if (size >= target.size) return {};
    if (size.count() % kGrain != 0)
        return fail(ErrorKind::unsupported,
                    fmt::format("the disk has {} bytes, which is not a multiple of 4 KiB, and it "
                                "was made larger later",
                                size.count()));
    return target.disk.zero(ByteOffset(size.count()), target.size - size);
}

Result<> copy_export(Site& site, const ExportedDisk& disk, std::unique_ptr<ports::Reader> base,
                     const mover::CopyTarget& target,
                     const std::function<Result<>(ByteSize)>& go_on) {
    UNDERSTUDY_TRY(check_sums(site, disk, go_on));
    auto layers = UNDERSTUDY_VALUE(open_layers(site, disk));
    mover::LayerStack stack(std::move(layers), std::move(base));
    if (disk.disk.size.count() != 0 && stack.size() != disk.disk.size)
        return fail(damaged(fmt::format("{} contains a disk of {} bytes instead of {} bytes",
                                        disk.files.back().path, stack.size().count(),
                                        disk.disk.size.count())));
    auto extents = UNDERSTUDY_VALUE(stack.extents());
    auto copied = UNDERSTUDY_VALUE(mover::copy_disk(
        {stack.size(),
         std::move(extents),
         disk.whole,
         [&stack](ByteOffset at, std::span<std::byte> into) { return stack.read(at, into); },
         {}},
        target, go_on));
    if (!disk.content.empty() && copied.digest != disk.content)
        return fail(damaged(
            fmt::format("the content of {} is not what its export says", disk.files.back().path)));
    return {};
}

Error base_missing(const Export& exported, bool may_name_it) {
    const auto& base = *exported.base;
    return Error(ErrorKind::not_found, fmt::format("{} contains the changes since snapshot '{}' "
                                                   "({}), and this snapshot is not here",
                                                   exported.directory, base.name, base.id.text()))
        .advising(may_name_it ? "Say with --base-dir where the export of that snapshot is."
                              : fmt::format("Import that snapshot first{}.",
                                            base.directory.empty()
                                                ? std::string()
                                                : fmt::format("; its export was {} from there",
                                                              base::shell_word(base.directory))));
}

Result<bool> has_base_here(Site& site, const Export& exported) {
    auto base = site.catalog.find_snapshot(exported.base->id);
    if (!base) return error_of(base);
    return *base && (*base)->vm == exported.vm;
}

}  // namespace

std::uint64_t ImportChain::total_bytes() const {
    std::uint64_t total = 0;
    for (const auto& exported : exports)
        for (const auto& disk : exported.disks) {
            total += disk.data.count();
            for (const auto& file : disk.files)
                if (file.sum) total += file.sum->size.count();
        }
    return total;
}

Result<ImportChain> chain_here(Site& site, Export wanted) {
    ImportChain chain;
    if (wanted.base) {
        auto here = UNDERSTUDY_VALUE(has_base_here(site, wanted));
        if (!here) return fail(base_missing(wanted, false));
        chain.on = wanted.base->id;
    }
    chain.exports.push_back(std::move(wanted));
    return chain;
}

Result<ImportChain> chain_of_new_vm(Site& site, Export wanted, const std::string& base_directory) {
    ImportChain chain;
    chain.exports.push_back(std::move(wanted));
    auto given = base_directory;
    while (chain.exports.front().base) {
        const auto& lowest = chain.exports.front();
        auto here = UNDERSTUDY_VALUE(has_base_here(site, lowest));
        if (here && given.empty()) {
            chain.on = lowest.base->id;
            chain.is_copied = true;
            return chain;
        }
        auto below = UNDERSTUDY_VALUE(find_export_of(site, lowest.base->id, lowest.directory,
                                                     lowest.base->directory, given, ""));
        if (!below) return fail(base_missing(lowest, true));
        if (chain.exports.size() == kLongestChain)
            return fail(
                ErrorKind::invalid,
                fmt::format("the chain of exports has more than {} exports, or refers to itself",
                            kLongestChain));
        chain.exports.insert(chain.exports.begin(), std::move(*below));
        given.clear();
    }
    return chain;
}

namespace {

// The files of one disk from the topmost whole one up to the wanted one.
Result<std::vector<const ExportedDisk*>> files_of(const ImportChain& chain,
                                                  const ExportedDisk& wanted) {
    std::vector<const ExportedDisk*> files{&wanted};
    for (auto at = chain.exports.rbegin() + 1; at != chain.exports.rend(); ++at) {
        if (files.front()->whole) break;
        const auto* below = disk_of(*at, wanted);
        if (below == nullptr)
            return fail(ErrorKind::invalid,
                        fmt::format("{} does not have disk {}", at->directory, wanted.disk.target));
        files.insert(files.begin(), below);
    }
    return files;
}

}  // namespace

Result<> import_disk(Site& site, const ImportChain& chain, std::size_t disk, ports::Incoming& into,
                     ByteSize size, const std::function<Result<>(ByteSize)>& go_on) {
    const auto& wanted = chain.wanted().disks[disk];
    const mover::CopyTarget target{into, size};
    auto files = UNDERSTUDY_VALUE(files_of(chain, wanted));
    std::unique_ptr<ports::Reader> below;
    if (!files.front()->whole) {
        auto base = UNDERSTUDY_VALUE(base_disk(site, chain, wanted));
        if (!base)
            return fail(ErrorKind::invalid,
                        fmt::format("the base does not contain disk {}", wanted.disk.target));
        if (chain.is_copied) {
            UNDERSTUDY_TRY(copy_base(*base, *chain.on, target, go_on));
            UNDERSTUDY_TRY(end_at(target, base->disk.size));
        }
        below = std::move(base->reader);
    }
    for (const auto* one : files) {
        if (one->files.empty()) continue;  // the base's content, as it is
        UNDERSTUDY_TRY(copy_export(site, *one, std::move(below), target, go_on));
        if (one != files.back()) UNDERSTUDY_TRY(end_at(target, one->disk.size));
    }
    return {};
}

Result<Export> export_of_snapshot(Site& site, const SnapshotId& id) {
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(id));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(snapshot.vm));
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(id));
    Export made;
    made.vm = vm.id;
    made.vm_name = vm.name;
    made.snapshot = snapshot;
    made.definition = std::move(definition);
    made.base = Export::Base{id, snapshot.name, {}};
    for (const auto& disk : snapshot.disks) {
        ExportedDisk outlined;
        outlined.disk = disk;
        outlined.whole = false;
        made.disks.push_back(std::move(outlined));
    }
    return made;
}

Result<> check_name_is_free(Site& site, const std::string& name, const VmId& id) {
    auto known = UNDERSTUDY_VALUE(site.hypervisor.list());
    for (const auto& other : known)
        if (other.name == name && other.id != id)
            return fail(Error(ErrorKind::refused, fmt::format("libvirt has a VM '{}' here", name))
                            .advising("Choose another name."));
    return {};
}

Result<> start_made_vm(Work& work, const VmId& id, const std::string& name) {
    auto started = refresh_owner_then_check(work.site(), id);
    if (started) started = work.site().hypervisor.start(id);
    if (!started)
        return fail(std::move(started.error())
                        .during(fmt::format("start '{}'", name))
                        .keeping(fmt::format("'{}' here, whole and stopped", name))
                        .advising(fmt::format("Try again: `understudy vm start {}`.",
                                              base::shell_word(name))));
    work.log(fmt::format("'{}' runs", name));
    return {};
}

Result<ByteSize> imported_size(Site& site, const ExportedDisk& disk) {
    auto layers = UNDERSTUDY_VALUE(open_layers(site, disk));
    return layers.back()->size();
}

}  // namespace understudy::tasks
