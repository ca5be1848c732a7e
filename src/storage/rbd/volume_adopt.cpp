#include "storage/rbd/volume.hpp"

#include <fmt/format.h>

#include <utility>

// How a volume begins: adopt examines a user's image (format 2, not striped, not migrating, no copy
// of rbd-mirror) and records it as the head; the image itself is not changed. A VM that was
// released and returns on the same image gets its former record back. The record is one change, so
// a crash leaves the volume known or unknown; the same call can be repeated.

namespace understudy::rbd {
namespace {

std::unexpected<Error> cannot(const std::string& location, const std::string& why,
                              const std::string& advice) {
    return fail(
        Error(ErrorKind::unsupported, fmt::format("disk {} {}", location, why)).advising(advice));
}

// The size of a user's image, or why it cannot be a volume.
Result<ByteSize> examine(const Images& images, const std::string& name,
                         const std::string& location) {
    auto opened = UNDERSTUDY_VALUE(images.open_frozen(name, {}));
    auto& image = opened->image;
    std::uint8_t old_format = 0;
    std::uint64_t size = 0;
    librbd::mirror_image_info_t mirrored;
    librbd::image_info_t info;
    int result = image.old_format(&old_format);
    if (result >= 0) result = image.size(&size);
    if (result >= 0) result = image.stat(info, sizeof info);
    if (result < 0) return fail(images.error(result, "look at", name));
    if (old_format != 0)
        return cannot(location, "is an image of format 1",
                      "Bring it to format 2 with `rbd migration`.");
    if (image.get_stripe_count() > 1 || image.get_stripe_unit() != info.obj_size)
        return cannot(location, "is striped over several objects at a time",
                      "Copy it with `rbd deep cp --stripe-count 1`.");
    std::string migrated_from;
    if (image.get_migration_source_spec(&migrated_from) >= 0)
        return cannot(location, "is being migrated", "Finish it with `rbd migration commit`.");
    if (image.mirror_image_get_info(&mirrored, sizeof mirrored) >= 0 &&
        mirrored.state == RBD_MIRROR_IMAGE_ENABLED && !mirrored.primary)
        return cannot(location, "is the copy of an image that rbd-mirror keeps",
                      "Promote it first, or protect the primary image.");
    return ByteSize(size);
}

}  // namespace

Result<ports::AdoptedVolume> Volume::adopt(const ports::VolumeLabel& label,
                                           const ports::DiskSource& source) {
    const auto& at = source.location;
    const std::lock_guard lock(mutex_);
    if (source.type != "network")
        return cannot(at, fmt::format("is of type '{}', not 'network'", source.type),
                      "Pools of the rbd driver take images in Ceph only.");
    if (source.format != "raw")
        return cannot(at, fmt::format("has format '{}' inside its image", source.format),
                      "Convert it with `qemu-img convert -O raw`.");
    const auto image = image_at(at);
    if (!image)
        return cannot(at, "is not in " + images_.cluster().where(),
                      "Configure a pool for where it is.");
    UNDERSTUDY_TRY(restore_forgotten(*image));
    auto found = UNDERSTUDY_VALUE(records_.volume(id_));
    if (found && found->record.removing)
        return fail(Error(ErrorKind::unavailable, "volume " + id_.text() + " is being removed")
                        .advising("Finish that first."));
    if (found) {
        const auto* head = found->record.find(ImageRole::head);
        if (!head || head->name != *image)
            return fail(ErrorKind::conflict,
                        fmt::format("volume {} exists and {} is not its head", id_.text(), at));
        auto size = UNDERSTUDY_VALUE(examine(images_, *image, at));
        return ports::AdoptedVolume{.source = source_of(*head), .size = size};
    }
    auto size = UNDERSTUDY_VALUE(examine(images_, *image, at));
    StoredRecord stored;
    stored.record.label = label;
    stored.record.images.push_back({.name = *image, .adopted = true, .role = ImageRole::head});
    const auto reread = read_record(write_record(stored.record));
    if (!reread || reread->images.front().name != *image)
        return cannot(at, "has a name that is not UTF-8", "Rename the image.");
    UNDERSTUDY_TRY(save(stored));
    return ports::AdoptedVolume{.source = source_of(stored.record.images.front()), .size = size};
}

// Brings the record back if a VM that was released returns on the image that it was released with.
// False: nothing was forgotten, or the volume is known. conflict: it returns on another image.
Result<bool> Volume::restore_forgotten(const std::string& image) {
    auto kept = UNDERSTUDY_VALUE(records_.forgotten(id_));
    if (!kept) return false;
    auto present = UNDERSTUDY_VALUE(records_.volume(id_));
    if (present) return false;
    const auto* head = kept->record.find(ImageRole::head);
    if (!head || head->name != image)
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} was forgotten and left images", id_.text()))
                        .advising(fmt::format("If nothing needs them, remove key forgotten/{} of "
                                              "object {} with `rados rmomapkey`.",
                                              id_.text(), kRecordsObject)));
    UNDERSTUDY_TRY(records_.restore(id_, *kept));
    return true;
}

}  // namespace understudy::rbd
