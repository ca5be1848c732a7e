#include "storage/qcow2/volume.hpp"

#include "base/durable_file.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// The record of a volume, and snapshots of its head. Each call reads volume.json anew; load() also
// finishes a sealed merge and a removal that a crash cut off, and deletes files that no record
// names. A crash leaves nothing else: a new file is durable before the record names it, and an old
// one goes after the record has forgotten it (a sealed head: before). prepare_snapshot records a
// new overlay, the hypervisor switches the VM to it, commit_snapshot exchanges the roles. If the
// disk is full, save() gives up the reserve and tries again.

namespace understudy::qcow2 {
namespace {

// Only names that this driver gives: <uuid>.qcow2 or .raw, perhaps still under its temporary name.
bool is_layer_name(std::string_view name) {
    if (name.ends_with(kTemporarySuffix)) name.remove_suffix(std::string_view(".tmp").size());
    for (const std::string_view suffix : {".qcow2", ".raw"})
        if (name.ends_with(suffix))
            return SnapshotId::parse(name.substr(0, name.size() - suffix.size())).has_value();
    return false;
}

}  // namespace

Volume::Volume(VolumeId id, std::string directory, std::string full_format)
    : id_(id), directory_(std::move(directory)), full_format_(std::move(full_format)) {}

Result<std::optional<VolumeRecord>> Volume::load() {
    const auto path = path_of(kRecordName);
    auto text = UNDERSTUDY_VALUE(base::read_file(path, kMaxRecordBytes));
    if (!text) {
        if (file_exists(path_of(kRemovingName))) UNDERSTUDY_TRY(remove_everything());
        return std::nullopt;
    }
    auto record = read_record(*text);
    if (!record)
        return fail(std::move(record.error())
                        .during("read " + path)
                        .advising("Nothing was changed; put back a good copy of the file."));
    UNDERSTUDY_TRY(finish_sealed(*record));
    UNDERSTUDY_TRY(remove_leftovers(*record));
    return std::move(*record);
}

Result<VolumeRecord> Volume::loaded() {
    auto record = UNDERSTUDY_VALUE(load());
    if (record) return std::move(*record);
    return fail(ErrorKind::not_found,
                fmt::format("no volume {} in {}", id_.text(), pool_directory()));
}

std::unexpected<Error> Volume::no_snapshot(const SnapshotId& id) const {
    return fail(ErrorKind::not_found,
                fmt::format("volume {} has no snapshot {}", id_.text(), id.text()));
}

Result<> Volume::save(const VolumeRecord& record) {
    const auto text = write_record(record);
    const auto reserve = pool_directory() + "/" + kReserveName;
    auto saved = write_durably(path_of(kRecordName), text);
    if (!saved && saved.error().kind() == ErrorKind::no_space && release_reserve(reserve))
        saved = write_durably(path_of(kRecordName), text);
    return saved;
}

std::string Volume::pool_directory() const {
    return directory_.substr(0, directory_.rfind('/'));
}

Result<> Volume::remove_leftovers(const VolumeRecord& record) {
    auto names = UNDERSTUDY_VALUE(list_directory(directory_));
    for (const auto& name : names) {
        const bool patch = is_patch_name(name) && !patches_.contains(name);
        if (!patch && (!is_layer_name(name) || record.find_file(name))) continue;
        // A VM whose definition is out of date may have been started on it. Then the file stays,
        // and nothing is lost.
        if (in_use_by_qemu(path_of(name))) continue;
        // One call at a time gets here, so no create() of it is under way: only a process that died
        // can have left it.
        UNDERSTUDY_TRY(remove_file(path_of(name)));
    }
    return {};
}

std::string Volume::path_of(std::string_view file) const {
    return file.starts_with('/') ? std::string(file) : fmt::format("{}/{}", directory_, file);
}

std::string Volume::path_of(const VolumeLayer& layer) const {
    return path_of(layer.file);
}

std::string Volume::new_file_name(const VolumeRecord& record, const SnapshotId& id,
                                  const std::string& format) const {
    auto name = fmt::format("{}.{}", id.text(), format);
    // After merges a file may hold another snapshot than the one that it was named after.
    while (record.find_file(name) || file_exists(path_of(name)))
        name = fmt::format("{}.{}", SnapshotId::random().text(), format);
    return name;
}

ports::DiskSource Volume::source_of(const VolumeLayer& layer) const {
    return {.type = "file", .format = layer.format, .location = path_of(layer)};
}

Result<VolumeLayer> Volume::make_overlay(const VolumeRecord& record, const VolumeLayer& below,
                                         ByteSize size, LayerRole role, const SnapshotId& id) {
    VolumeLayer layer{.file = new_file_name(record, id, "qcow2"),
                      .format = "qcow2",
                      .adopted = false,
                      .parent = below.file,
                      .size = size,
                      .role = role,
                      .snapshot = id,
                      .base = {}};
    auto made =
        create_overlay(path_of(layer), size, {.path = path_of(below), .format = below.format});
    if (!made) {
        auto error = std::move(made.error()).during("make an overlay");
        return std::unexpected(with_free_space(std::move(error), directory_));
    }
    crash_point("overlay made");
    return layer;
}

Result<> Volume::drop(VolumeRecord& record, const std::string& file) {
    const auto layer = *record.find_file(file);
    record.remove(file);
    if (record.merge && (record.merge->base == file || record.merge->top == file))
        record.merge.reset();
    UNDERSTUDY_TRY(save(record));
    crash_point("layer dropped from the record");
    if (layer.adopted) return {};
    UNDERSTUDY_TRY(remove_file(path_of(layer)));
    keep_reserve(pool_directory() + "/" + kReserveName);
    return {};
}

Result<bool> Volume::known() {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(load());
    return record.has_value();
}

Result<std::optional<ports::DiskSource>> Volume::head() {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* head = record.find(LayerRole::head);
    if (!head) return std::nullopt;
    return source_of(*head);
}

Result<std::vector<SnapshotId>> Volume::snapshots() {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    std::vector<SnapshotId> ids;
    for (const auto& layer : record.layers)
        if (layer.role == LayerRole::snapshot) ids.push_back(layer.snapshot);
    return ids;
}

Result<ports::SnapshotStat> Volume::stat(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* layer = record.find(LayerRole::snapshot, id);
    if (!layer) return no_snapshot(id);
    return ports::SnapshotStat{.size = layer->size, .own = allocated_bytes(path_of(*layer))};
}

Result<ByteSize> Volume::head_own() {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* head = record.find(LayerRole::head);
    return head ? allocated_bytes(path_of(*head)) : ByteSize(0);
}

Result<ports::DiskSource> Volume::prepare_snapshot(const SnapshotId& id, ByteSize size) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* head = record.find(LayerRole::head);
    if (!head)
        return fail(ErrorKind::conflict,
                    fmt::format("volume {} has no disk that a VM writes to", id_.text()));
    if (const auto* taken = record.find(LayerRole::snapshot, id)) {
        if (head->parent == taken->file) return source_of(*head);
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " was taken before");
    }
    if (record.find(LayerRole::incoming, id))
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " is being received");
    if (const auto* prepared = record.find(LayerRole::prepared)) {
        if (prepared->snapshot != id)
            return fail(Error(ErrorKind::conflict,
                              "snapshot " + prepared->snapshot.text() + " is being taken")
                            .advising("Its task comes first: see `understudy task list`; "
                                      "one that failed may be retried."));
        if (prepared->size == size) return source_of(*prepared);
        // The disk was resized since. On this overlay the guest would find the former size.
        auto unused = UNDERSTUDY_VALUE(untouched(record, LayerRole::prepared, id));
        if (!unused)
            return fail(ErrorKind::conflict, "a VM writes to " + path_of(*prepared) + " already");
        UNDERSTUDY_TRY(drop(record, std::string(prepared->file)));
        head = record.find(LayerRole::head);
    }
    if (record.merge && record.merge->live && record.merge->top == head->file)
        return fail(Error(ErrorKind::conflict, "the VM is being moved off " + path_of(*head))
                        .advising("Finish the removal that merges it first."));
    auto overlay = UNDERSTUDY_VALUE(make_overlay(record, *head, size, LayerRole::prepared, id));
    record.layers.push_back(overlay);
    UNDERSTUDY_TRY(save(record));
    crash_point("snapshot prepared");
    return source_of(overlay);
}

Result<> Volume::commit_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    if (record.find(LayerRole::snapshot, id)) return {};
    auto* prepared = record.find(LayerRole::prepared, id);
    auto* head = record.find(LayerRole::head);
    if (!prepared || !head)
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " was not prepared");
    // The VM runs on the overlay already, so this must not fail only because the size cannot be
    // read.
    const auto info = probe_image(path_of(*head), head->format);
    head->size = info ? info->size : prepared->size;
    head->role = LayerRole::snapshot;
    head->snapshot = id;
    prepared->role = LayerRole::head;
    prepared->snapshot = {};
    UNDERSTUDY_TRY(save(record));
    crash_point("snapshot committed");
    return {};
}

Result<> Volume::cancel_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    if (record.find(LayerRole::snapshot, id))
        return fail(Error(ErrorKind::conflict, "snapshot " + id.text() + " was taken already")
                        .advising("Remove it instead."));
    const auto* prepared = record.find(LayerRole::prepared, id);
    if (!prepared) return {};
    if (in_use_by_qemu(path_of(*prepared)))
        return fail(Error(ErrorKind::refused, "a VM writes to " + path_of(*prepared) + " already")
                        .advising("Commit snapshot " + id.text() + " instead of cancelling it."));
    return drop(record, std::string(prepared->file));
}

}  // namespace understudy::qcow2
