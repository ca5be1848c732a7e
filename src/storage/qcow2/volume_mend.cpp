#include "base/durable_file.hpp"
#include "storage/qcow2/image/writer.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

// A mend writes what is right into an overlay on the layer. publish() merges that into the layer
// with qemu-img, as snapshots are merged, because qemu-img knows every kind of image that a layer
// can be. The record does not change. A crash leaves the overlay, which the next call of the volume
// removes, and, if it came during the merge, a layer with some of the content. Either way another
// mend follows, from the start.

namespace understudy::qcow2 {
namespace {

class Patch : public ports::Incoming {
public:
    Patch(std::shared_ptr<Volume> volume, SnapshotId id, std::string layer, std::string path,
          std::unique_ptr<ImageWriter> writer)
        : volume_(std::move(volume)),
          id_(id),
          layer_(std::move(layer)),
          path_(std::move(path)),
          writer_(std::move(writer)) {}
    ~Patch() override {
        writer_.reset();
        volume_->close_patch(path_);
    }
    Patch(const Patch&) = delete;
    Patch& operator=(const Patch&) = delete;

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        return with_space(writer_->write(offset, data));
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        return with_space(writer_->zero(offset, length));
    }
    Result<> flush() override { return with_space(writer_->flush()); }
    Result<> publish() override {
        if (published_) return {};
        UNDERSTUDY_TRY(with_space(writer_->finish()));
        crash_point("patch finished");
        UNDERSTUDY_TRY(volume_->apply_patch(id_, layer_, path_));
        published_ = true;
        return {};
    }
    Result<> discard() override { return {}; }  // nothing of it outlives this object

private:
    Result<> with_space(Result<> done) const {
        if (done) return done;
        return fail(with_free_space(std::move(done.error()),
                                    std::filesystem::path(path_).parent_path().string()));
    }

    const std::shared_ptr<Volume> volume_;
    const SnapshotId id_;
    const std::string layer_;  // as it was when this began
    const std::string path_;
    std::unique_ptr<ImageWriter> writer_;
    bool published_ = false;
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> Volume::mend(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* layer = record.find(LayerRole::snapshot, id);
    if (!layer) return no_snapshot(id);
    UNDERSTUDY_TRY(check_mendable(record, *layer));
    const auto name = fmt::format("{}{}.qcow2", kPatchPrefix, SnapshotId::random().text());
    const auto path = path_of(name);
    auto writer = ImageWriter::create(
        path, layer->size, BackingFile{.path = path_of(*layer), .format = layer->format});
    if (!writer)
        return fail(with_free_space(std::move(writer.error()), directory_).during("begin " + path));
    patches_.insert(name);
    crash_point("patch made");
    return std::make_unique<Patch>(shared_from_this(), id, path_of(*layer), path,
                                   std::move(*writer));
}

// What is written into the layer shows in all layers above it.
Result<> Volume::check_mendable(const VolumeRecord& record, const VolumeLayer& layer) const {
    for (const auto& other : record.layers) {
        const bool used = other.role == LayerRole::head || other.role == LayerRole::drill ||
                          other.role == LayerRole::successor || other.role == LayerRole::prepared;
        if (used && record.is_above(other, layer.file))
            return fail(
                Error(ErrorKind::refused,
                      fmt::format("a VM or a rehearsal is on {}", path_of(layer)))
                    .advising("Let the rehearsal end first. A VM's own disk is not mended here."));
    }
    if (in_use_by_qemu(path_of(layer)) || is_pinned(path_of(layer)))
        return fail(ErrorKind::unavailable, path_of(layer) + " is being read by something else");
    const bool merging =
        record.merge && (record.merge->base == layer.file || record.merge->top == layer.file);
    if (merging) return fail(ErrorKind::unavailable, path_of(layer) + " is being merged");
    return {};
}

Result<> Volume::apply_patch(const SnapshotId& id, const std::string& layer,
                             const std::string& patch) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* present = record.find(LayerRole::snapshot, id);
    if (!present) return no_snapshot(id);
    if (path_of(*present) != layer)
        return fail(ErrorKind::unavailable, "the layers of this volume were merged meanwhile");
    UNDERSTUDY_TRY(check_mendable(record, *present));
    auto merged = commit_layer(patch, "qcow2", layer);
    if (!merged)
        return fail(with_free_space(std::move(merged.error()), directory_)
                        .during("mend " + layer)
                        .keeping("what was mended so far; it can be repeated"));
    crash_point("patch merged");
    return base::sync_path(layer);
}

void Volume::close_patch(const std::string& patch) {
    const std::lock_guard lock(mutex_);
    patches_.erase(std::filesystem::path(patch).filename().string());
    (void)remove_file(patch);  // if it stays, the next call removes it as a leftover
}

}  // namespace understudy::qcow2
