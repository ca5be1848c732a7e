#include "base/durable_file.hpp"
#include "storage/qcow2/image/writer.hpp"
#include "storage/qcow2/volume.hpp"
#include "storage/qcow2/volume_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

// Receives a snapshot into a layer. receive() makes the file durably and then records the layer, or
// reopens the one that an earlier attempt has left. Bytes go to the file's writer, without the
// volume's lock. publish() finishes the file, then the record makes the layer a snapshot. After a
// crash before the record, the next call removes the file as a leftover; after a later one,
// receive() goes on with at least all that the last flush() covered. Discarding the only layer
// removes the volume, too.

namespace understudy::qcow2 {
namespace {

using LayerWriter = std::variant<std::unique_ptr<ImageWriter>, std::unique_ptr<RawWriter>>;

template <class Writer>
Result<LayerWriter> as_layer_writer(Result<std::unique_ptr<Writer>> writer) {
    if (!writer) return error_of(writer);
    return LayerWriter(std::move(*writer));
}

Result<LayerWriter> reopen_writer(const std::string& path, const std::string& format) {
    if (format == "raw") return as_layer_writer(RawWriter::reopen(path));
    return as_layer_writer(ImageWriter::reopen(path));
}

// It is in one of three states. It is being received. Or its file is unusable: then no bytes are
// taken, but it can be discarded. Or it is published already: then only publish() succeeds.
class LayerIncoming : public ports::Incoming {
public:
    LayerIncoming(std::shared_ptr<Volume> volume, SnapshotId id, std::string directory,
                  std::variant<LayerWriter, Error> writer)
        : volume_(std::move(volume)),
          id_(id),
          directory_(std::move(directory)),
          writer_(std::move(writer)) {}
    ~LayerIncoming() override { release(); }
    LayerIncoming(const LayerIncoming&) = delete;
    LayerIncoming& operator=(const LayerIncoming&) = delete;

    Result<> write(ByteOffset offset, std::span<const std::byte> data) override {
        return with_writer([&](auto& writer) { return writer->write(offset, data); });
    }
    Result<> zero(ByteOffset offset, ByteSize length) override {
        return with_writer([&](auto& writer) { return writer->zero(offset, length); });
    }
    Result<> flush() override {
        return with_writer([](auto& writer) { return writer->flush(); });
    }
    Result<> publish() override {
        if (published_) return {};
        UNDERSTUDY_TRY(with_writer([](auto& writer) { return writer->finish(); }));
        crash_point("layer finished");
        UNDERSTUDY_TRY(volume_->publish_incoming(id_));
        published_ = true;
        writer_ = Error(ErrorKind::conflict, "snapshot " + id_.text() + " is published already");
        release();
        return {};
    }
    Result<> discard() override {
        UNDERSTUDY_TRY(volume_->discard_incoming(id_));
        writer_ = Error(ErrorKind::conflict, "snapshot " + id_.text() + " was discarded");
        release();
        return {};
    }
    void mark_published() {
        published_ = true;
        claimed_ = false;
    }

private:
    void release() {
        if (std::exchange(claimed_, false)) volume_->close_incoming(id_);
    }
    template <class Call>
    Result<> with_writer(Call call) {
        if (const auto* error = std::get_if<Error>(&writer_)) return fail(*error);
        auto done = std::visit(call, std::get<LayerWriter>(writer_));
        if (!done) return fail(with_free_space(std::move(done.error()), directory_));
        return {};
    }

    std::shared_ptr<Volume> volume_;
    const SnapshotId id_;
    const std::string directory_;
    std::variant<LayerWriter, Error> writer_;
    bool published_ = false;
    bool claimed_ = true;  // nobody else may receive the snapshot
};

}  // namespace

Result<std::unique_ptr<ports::Incoming>> Volume::receive(const ports::VolumeLabel& label,
                                                         std::optional<SnapshotId> base,
                                                         const SnapshotId& id, ByteSize size) {
    const std::lock_guard lock(mutex_);
    if (receiving_.contains(id))
        return fail(ErrorKind::unavailable,
                    "snapshot " + id.text() + " is being received by someone else right now");
    auto found = UNDERSTUDY_VALUE(load());
    VolumeRecord record = found ? std::move(*found) : VolumeRecord{label, {}, {}};
    if (const auto* layer = record.find(LayerRole::snapshot, id)) {
        if (layer->size != size)
            return fail(ErrorKind::conflict,
                        "snapshot " + id.text() + " exists here with another size");
        auto done = std::make_unique<LayerIncoming>(
            shared_from_this(), id, directory_,
            Error(ErrorKind::conflict, "snapshot " + id.text() + " is published already"));
        done->mark_published();
        return done;
    }
    if (record.find(LayerRole::prepared, id))
        return fail(ErrorKind::conflict, "snapshot " + id.text() + " is being taken here");
    if (const auto* layer = record.find(LayerRole::incoming, id)) {
        if (layer->base != base.value_or(SnapshotId()) || layer->size != size)
            return fail(Error(ErrorKind::conflict,
                              fmt::format("snapshot {} is being received on {} with {} bytes",
                                          id.text(), layer->base.text(), layer->size.count()))
                            .advising("Go on with those, or discard what is there."));
        return reopen_incoming(*layer);
    }
    const VolumeLayer* below = base ? record.find(LayerRole::snapshot, *base) : nullptr;
    if (base && !below)
        return fail(ErrorKind::conflict, fmt::format("volume {} has no snapshot {} to build on",
                                                     id_.text(), base->text()));
    return begin_incoming(record, below, base, id, size);
}

Result<std::unique_ptr<ports::Incoming>> Volume::begin_incoming(VolumeRecord record,
                                                                const VolumeLayer* below,
                                                                std::optional<SnapshotId> base,
                                                                const SnapshotId& id,
                                                                ByteSize size) {
    if (file_exists(path_of(kForgottenName)))
        return fail(Error(ErrorKind::conflict,
                          fmt::format("volume {} was forgotten and left files", id_.text()))
                        .advising(fmt::format("Move {} away if nothing needs it.", directory_)));
    if (below && record.merge && record.merge->live && record.merge->top == below->file)
        return fail(ErrorKind::unavailable, "snapshot " + base->text() + " is being merged");
    UNDERSTUDY_TRY(make_directory(directory_));
    const std::string format = below ? "qcow2" : full_format_;
    VolumeLayer layer{.file = new_file_name(record, id, format),
                      .format = format,
                      .adopted = false,
                      .parent = below ? below->file : std::string(),
                      .size = size,
                      .role = LayerRole::incoming,
                      .snapshot = id,
                      .base = base.value_or(SnapshotId())};
    std::optional<BackingFile> backing;
    if (below) backing = {.path = path_of(*below), .format = below->format};
    const auto path = path_of(layer);
    auto writer = format == "raw" ? as_layer_writer(RawWriter::create(path, size))
                                  : as_layer_writer(ImageWriter::create(path, size, backing));
    if (!writer)
        return fail(with_free_space(std::move(writer.error()), directory_).during("begin " + path));
    crash_point("incoming layer made");
    record.layers.push_back(std::move(layer));
    UNDERSTUDY_TRY(save(record));
    crash_point("incoming recorded");
    receiving_.insert(id);
    return std::make_unique<LayerIncoming>(shared_from_this(), id, directory_, std::move(*writer));
}

// If the file is gone or damaged, it is not begun anew: the sender relies on what was durable in
// it.
Result<std::unique_ptr<ports::Incoming>> Volume::reopen_incoming(const VolumeLayer& layer) {
    const auto path = path_of(layer);
    auto writer = reopen_writer(path, layer.format);
    if (!writer) {
        auto error = std::move(writer.error()).during("go on with " + path);
        const bool lost =
            error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::not_found;
        if (!lost) return fail(std::move(error));
        auto damaged = Error(ErrorKind::corrupt, error.step_text())
                           .advising("Cancel this transfer and send the snapshot again.");
        receiving_.insert(layer.snapshot);
        return std::make_unique<LayerIncoming>(shared_from_this(), layer.snapshot, directory_,
                                               std::move(damaged));
    }
    receiving_.insert(layer.snapshot);
    return std::make_unique<LayerIncoming>(shared_from_this(), layer.snapshot, directory_,
                                           std::move(*writer));
}

Result<> Volume::publish_incoming(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    if (record.find(LayerRole::snapshot, id)) return {};
    auto* layer = record.find(LayerRole::incoming, id);
    if (!layer)
        return fail(ErrorKind::not_found,
                    "what was received of snapshot " + id.text() + " was discarded");
    layer->role = LayerRole::snapshot;
    layer->base = {};
    UNDERSTUDY_TRY(save(record));
    crash_point("incoming published");
    return {};
}

Result<> Volume::discard_incoming(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(load());
    if (!record) return {};
    if (record->find(LayerRole::snapshot, id))
        return fail(Error(ErrorKind::conflict, "snapshot " + id.text() + " is published already")
                        .advising("Remove it as a snapshot."));
    const auto* layer = record->find(LayerRole::incoming, id);
    if (!layer) return {};
    UNDERSTUDY_TRY(drop(*record, std::string(layer->file)));
    UNDERSTUDY_TRY(prune(*record));
    if (!record->layers.empty()) return {};
    // The volume existed only for this snapshot, so it is removed.
    UNDERSTUDY_TRY(base::rename_durably(path_of(kRecordName), path_of(kRemovingName)));
    return remove_everything();
}

void Volume::close_incoming(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    receiving_.erase(id);
}

}  // namespace understudy::qcow2
