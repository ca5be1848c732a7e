#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/volume.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

// Reads frozen snapshots: their content (open_snapshot) and what differs between two of them
// (changes). The volume's lock is held only while the chain of files is opened. A reader or a
// listing pins all its files for as long as it lives, so that no merge writes into them. Nothing is
// written or kept.

namespace understudy::qcow2 {
namespace {

std::vector<std::string> paths_of(const LayerChain& chain) {
    std::vector<std::string> paths;
    for (std::size_t layer = 0; layer < chain.depth(); ++layer)
        paths.push_back(chain.path_of(layer));
    return paths;
}

// Keeps merges away from the files for as long as it lives.
class Pin {
public:
    Pin(std::shared_ptr<Volume> volume, std::vector<std::string> paths)
        : volume_(std::move(volume)), pin_(volume_->pin(std::move(paths))) {}
    ~Pin() { volume_->unpin(pin_); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

private:
    std::shared_ptr<Volume> volume_;
    Volume::Pins::iterator pin_;
};

class SnapshotReader : public ports::Reader {
public:
    SnapshotReader(std::shared_ptr<Volume> volume, std::unique_ptr<LayerChain> chain)
        : chain_(std::move(chain)), pin_(std::move(volume), paths_of(*chain_)) {}

    ByteSize size() const override { return chain_->size(); }
    Result<> read(ByteOffset offset, std::span<std::byte> into) override {
        return chain_->read(offset, into);
    }
    void prefetch(ByteOffset offset, ByteSize length) override { chain_->prefetch(offset, length); }

private:
    std::unique_ptr<LayerChain> chain_;
    Pin pin_;
};

class PinnedStream : public ports::ExtentStream {
public:
    PinnedStream(std::shared_ptr<Volume> volume, const LayerChain& chain,
                 std::unique_ptr<ports::ExtentStream> extents)
        : extents_(std::move(extents)), pin_(std::move(volume), paths_of(chain)) {}

    Result<std::optional<ports::Extent>> next() override { return extents_->next(); }

private:
    std::unique_ptr<ports::ExtentStream> extents_;
    Pin pin_;
};

class NoExtents : public ports::ExtentStream {
public:
    Result<std::optional<ports::Extent>> next() override { return std::nullopt; }
};

// How many layers of the chain are above the file. They are counted by the files' own headers,
// because a merge that is under way changes those before the record. A hypervisor may have
// rewritten a path in another spelling.
std::optional<std::size_t> layers_above(const LayerChain& chain, const std::string& path) {
    for (std::size_t layer = 0; layer < chain.depth(); ++layer)
        if (chain.path_of(layer) == path) return layer;
    std::error_code error;
    for (std::size_t layer = 0; layer < chain.depth(); ++layer)
        if (std::filesystem::equivalent(chain.path_of(layer), path, error)) return layer;
    return std::nullopt;
}

}  // namespace

Volume::Pins::iterator Volume::pin(std::vector<std::string> paths) {
    const std::lock_guard lock(pins_mutex_);
    return pins_.insert(pins_.end(), std::move(paths));
}

void Volume::unpin(Pins::iterator pin) {
    const std::lock_guard lock(pins_mutex_);
    pins_.erase(pin);
}

Result<std::unique_ptr<ports::Reader>> Volume::open_snapshot(const SnapshotId& id) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* layer = record.find(LayerRole::snapshot, id);
    if (!layer) return no_snapshot(id);
    auto chain = LayerChain::open(path_of(*layer), layer->format);
    if (!chain) return fail(std::move(chain.error()).during("open " + path_of(*layer)));
    return std::make_unique<SnapshotReader>(shared_from_this(), std::move(*chain));
}

Result<std::unique_ptr<ports::ExtentStream>> Volume::changes(std::optional<SnapshotId> base,
                                                             const SnapshotId& until,
                                                             ByteOffset from) {
    const std::lock_guard lock(mutex_);
    auto record = UNDERSTUDY_VALUE(loaded());
    const auto* top = record.find(LayerRole::snapshot, until);
    if (!top) return no_snapshot(until);
    const auto* bottom = base ? record.find(LayerRole::snapshot, *base) : nullptr;
    if (base && (!bottom || !record.is_above(*top, bottom->file)))
        return fail(ErrorKind::conflict, fmt::format("snapshot {} is not an ancestor of {} here",
                                                     base->text(), until.text()));
    auto chain = LayerChain::open(path_of(*top), top->format);
    if (!chain) return fail(std::move(chain.error()).during("open " + path_of(*top)));
    auto layers = (*chain)->depth();
    if (bottom) {
        const auto above = layers_above(**chain, path_of(*bottom));
        if (!above)
            return fail(ErrorKind::corrupt,
                        fmt::format("{} is not built on {} as {} says", path_of(*top),
                                    path_of(*bottom), path_of(kRecordName)));
        layers = *above;
    }
    if (layers == 0) return std::make_unique<NoExtents>();
    auto extents = (*chain)->extents(layers, from, base ? Zeroes::listed : Zeroes::left_out);
    return std::make_unique<PinnedStream>(shared_from_this(), **chain, std::move(extents));
}

}  // namespace understudy::qcow2
