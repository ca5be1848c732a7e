#include "storage/qcow2/image/layer_chain.hpp"

#include "base/durable_file.hpp"
#include "storage/qcow2/image/layer_chain_state.hpp"

#include <fmt/format.h>
#include <algorithm>

// A frozen image and all that it is built on. open() follows the backing files from the top down,
// at most 256 of them, and finds a loop by device and inode. read() asks the layers from the top
// for the first one that knows a place; below a layer that ends before that place everything reads
// as zeroes. Only reads the files. Thread-safe; the layers share one cache of 16 MiB.

namespace understudy::qcow2 {
namespace {

constexpr std::size_t kMaxDepth = 256;

struct Found {
    const Layer* layer = nullptr;  // null: zeroes
    Mapping run;
};

// The layer that decides the run at `offset`, and 1 … length bytes of that run.
Result<Found> find(const ChainState& chain, std::uint64_t offset, std::uint64_t length) {
    for (const auto& layer : chain.layers) {
        if (offset >= layer.size()) break;  // the disk was grown above this layer
        auto run = UNDERSTUDY_VALUE(layer.map(offset, length, chain.cache));
        length = run.length;
        if (run.kind == Mapping::Kind::zero) break;
        if (run.kind != Mapping::Kind::hole) return Found{&layer, run};
    }
    return Found{nullptr, {Mapping::Kind::zero, length, 0}};
}

bool is_same_file(const Layer& a, const Layer& b) {
    return a.file().device() == b.file().device() && a.file().inode() == b.file().inode();
}

Result<> check_range(const ChainState& chain, ByteOffset offset, std::uint64_t length) {
    const auto size = chain.layers.front().size();
    if (offset.count() <= size && length <= size - offset.count()) return {};
    return fail(ErrorKind::invalid,
                fmt::format("{}: bytes {}+{} lie outside the disk of {} bytes",
                            chain.layers.front().file().path(), offset.count(), length, size));
}

std::string resolve_against(const std::string& layer_path, const std::string& backing) {
    if (backing.starts_with('/')) return backing;
    return base::parent_of(layer_path) + '/' + backing;
}

}  // namespace

LayerChain::LayerChain(std::shared_ptr<const ChainState> state) : state_(std::move(state)) {}
LayerChain::~LayerChain() = default;

Result<std::unique_ptr<LayerChain>> LayerChain::open(const std::string& top_path,
                                                     const std::string& top_format) {
    auto chain = std::make_shared<ChainState>();
    BackingFile next{top_path, top_format};
    while (true) {
        auto layer = Layer::open(next.path, next.format, chain->layers.size());
        if (!layer) return fail(std::move(layer.error()).during("open the chain of " + top_path));
        for (const auto& above : chain->layers) {
            if (is_same_file(above, *layer)) {
                return fail(ErrorKind::corrupt,
                            fmt::format("{} is its own backing file, by way of {}", next.path,
                                        chain->layers.back().file().path()));
            }
        }
        chain->layers.push_back(std::move(*layer));
        const auto& backing = chain->layers.back().info().backing;
        if (!backing) break;
        if (chain->layers.size() == kMaxDepth) {
            return fail(ErrorKind::corrupt,
                        fmt::format("{} has more than {} layers", top_path, kMaxDepth));
        }
        if (backing->format.empty()) {
            return fail(Error(ErrorKind::unsupported,
                              fmt::format("{} does not state the format of its backing file {}",
                                          next.path, backing->path))
                            .advising("State it with 'qemu-img rebase -u -F FORMAT -b FILE'."));
        }
        next = {resolve_against(next.path, backing->path), backing->format};
    }
    return std::unique_ptr<LayerChain>(new LayerChain(std::move(chain)));
}

Result<std::unique_ptr<LayerChain>> LayerChain::open_alone(const std::string& path,
                                                           const std::string& format) {
    auto chain = std::make_shared<ChainState>();
    auto layer = UNDERSTUDY_VALUE(Layer::open(path, format, 0));
    chain->layers_below = layer.info().backing.has_value();
    chain->layers.push_back(std::move(layer));
    return std::unique_ptr<LayerChain>(new LayerChain(std::move(chain)));
}

ByteSize LayerChain::size() const {
    return state_->layers.front().info().size;
}

std::size_t LayerChain::depth() const {
    return state_->layers.size();
}

const std::string& LayerChain::path_of(std::size_t layer) const {
    return state_->layers.at(layer).file().path();
}

const ImageInfo& LayerChain::info_of(std::size_t layer) const {
    return state_->layers.at(layer).info();
}

Result<> LayerChain::read(ByteOffset offset, std::span<std::byte> into) const {
    UNDERSTUDY_TRY(check_range(*state_, offset, into.size()));
    auto at = offset.count();
    while (!into.empty()) {
        auto found = UNDERSTUDY_VALUE(find(*state_, at, into.size()));
        const auto part = into.first(found.run.length);
        if (found.layer == nullptr) {
            std::ranges::fill(part, std::byte{0});
        } else {
            UNDERSTUDY_TRY(found.layer->read(found.run, at, part, state_->cache));
        }
        at += part.size();
        into = into.subspan(part.size());
    }
    return {};
}

void LayerChain::prefetch(ByteOffset offset, ByteSize length) const {
    const auto end = std::min(size(), ByteSize((offset + length).count())).count();
    auto at = offset.count();
    while (at < end) {
        const auto found = find(*state_, at, end - at);
        if (!found) return;
        if (found->layer != nullptr) found->layer->prefetch(found->run);
        at += found->run.length;
    }
}

}  // namespace understudy::qcow2
