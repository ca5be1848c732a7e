#include "base/durable_file.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

namespace understudy::qcow2 {
namespace {

std::unexpected<Error> cannot(const std::string& location, const std::string& why,
                              const std::string& advice) {
    return fail(
        Error(ErrorKind::unsupported, fmt::format("disk {} {}", location, why)).advising(advice));
}

// What keeps a user's disk from being a volume's bottom, or what it is.
Result<ImageInfo> examine(const ports::DiskSource& source) {
    const auto& at = source.location;
    if (source.type != "file")
        return cannot(at, fmt::format("is of type '{}', not a file", source.type),
                      "Pools of the qcow2 driver take disk files only.");
    if (source.format != "qcow2" && source.format != "raw")
        return cannot(at, fmt::format("has format '{}'", source.format),
                      "Give it a <driver type='qcow2'/> or 'raw'; convert it with `qemu-img "
                      "convert` if it is neither.");
    if (!at.starts_with('/'))
        return fail(ErrorKind::invalid, fmt::format("'{}' is not an absolute path", at));
    struct stat found{};
    if (::stat(at.c_str(), &found) != 0) return fail(errno_error(errno, "disk " + at));
    if (!S_ISREG(found.st_mode))
        return cannot(at, "is not a regular file", "Block devices cannot take part.");
    auto info = probe_image(at, source.format);
    if (!info) return fail(std::move(info.error()).during("look at disk " + at));
    if (info->has_internal_snapshots)
        return cannot(at, "has internal snapshots",
                      "List them with `qemu-img snapshot -l FILE` and, with the VM stopped, delete "
                      "those no longer needed with `qemu-img snapshot -d NAME FILE`.");
    // All of the chain must be readable, since all of it is sent.
    if (auto chain = LayerChain::open(at, source.format); !chain)
        return fail(std::move(chain.error()).during("look at disk " + at));
    return info;
}

}  // namespace

Result<ports::AdoptedVolume> Volume::adopt(const ports::VolumeLabel& label,
                                           const ports::DiskSource& source) {
    const std::lock_guard lock(mutex_);
    UNDERSTUDY_TRY(restore_forgotten(source.location));
    auto old = UNDERSTUDY_VALUE(load());
    if (old) {
        auto& record = *old;
        UNDERSTUDY_TRY(reconcile_live_merge(record, source.location));
        const auto* head = record.find(LayerRole::head);
        if (!head || source_of(*head) != source)
            return fail(ErrorKind::conflict, fmt::format("volume {} exists and {} is not its head",
                                                         id_.text(), source.location));
        const auto info = probe_image(source.location, source.format);
        return ports::AdoptedVolume{.source = source, .size = info ? info->size : head->size};
    }
    auto info = UNDERSTUDY_VALUE(examine(source));
    VolumeRecord record{.label = label, .layers = {}, .merge = {}};
    record.layers.push_back({.file = source.location,
                             .format = source.format,
                             .adopted = true,
                             .parent = {},
                             .size = info.size,
                             .role = LayerRole::head,
                             .snapshot = {},
                             .base = {}});
    const auto reread = read_record(write_record(record));
    if (!reread || reread->layers.front().file != source.location)
        return cannot(source.location, "has a name that is not UTF-8", "Rename the file.");
    UNDERSTUDY_TRY(make_directory(directory_));
    UNDERSTUDY_TRY(save(record));
    crash_point("adopted");
    return ports::AdoptedVolume{.source = source, .size = info.size};
}

// A VM that was released and comes back on the file that it was released with.
Result<bool> Volume::restore_forgotten(const std::string& location) {
    const auto kept = path_of(kForgottenName);
    auto text = UNDERSTUDY_VALUE(base::read_file(kept, kMaxRecordBytes));
    if (!text || file_exists(path_of(kRecordName))) return false;
    const auto record = read_record(*text);
    const auto* head = record ? record->find(LayerRole::head) : nullptr;
    if (!head || path_of(*head) != location)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} was forgotten and left files", id_.text()))
                        .advising(fmt::format("Move {} away if nothing needs it.", directory_)));
    UNDERSTUDY_TRY(base::rename_durably(kept, path_of(kRecordName)));
    return true;
}

// The caller tells which file the VM is defined with, which settles whether a planned merge of the
// head took place.
Result<> Volume::reconcile_live_merge(VolumeRecord& record, const std::string& location) {
    if (!record.merge || !record.merge->live) return {};
    const auto* top = record.find_file(record.merge->top);
    if (top->role != LayerRole::head) return {};
    if (path_of(*top) == location) {
        record.merge.reset();
        return save(record);
    }
    if (path_of(record.merge->base) == location) return finish_pending(record);
    return {};
}

Result<> Volume::forget(bool remove_data) {
    const std::lock_guard lock(mutex_);
    if (file_exists(path_of(kRemovingName))) return remove_everything();
    auto record = UNDERSTUDY_VALUE(load());
    if (!record) return {};
    bool has_files = false;
    for (const auto& layer : record->layers) {
        if (layer.adopted) continue;
        has_files = true;
        if (remove_data && in_use_by_qemu(path_of(layer)))
            return fail(Error(ErrorKind::refused, "a VM has " + path_of(layer) + " open")
                            .advising("Stop it before its volume is removed."));
    }
    const bool keep = has_files && !remove_data;
    UNDERSTUDY_TRY(
        base::rename_durably(path_of(kRecordName), path_of(keep ? kForgottenName : kRemovingName)));
    crash_point("volume forgotten");
    return keep ? Result<>{} : remove_everything();
}

Result<> Volume::remove_everything() {
    UNDERSTUDY_TRY(remove_leftovers({}));
    crash_point("layers removed");
    UNDERSTUDY_TRY(remove_file(base::unfinished_name(path_of(kRecordName))));
    UNDERSTUDY_TRY(remove_file(path_of(std::string(kRecordName) + ".tmp")));  // of older versions
    UNDERSTUDY_TRY(remove_file(path_of(kRemovingName)));
    return remove_directory(directory_);
}

}  // namespace understudy::qcow2
