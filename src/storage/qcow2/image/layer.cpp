#include "storage/qcow2/image/layer.hpp"

#include "storage/qcow2/image/format.hpp"
#include "storage/qcow2/image/inflate.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <bit>
#include <cerrno>

// One frozen image file. map() says where the bytes of a run of the disk are, read() reads them.
// open() loads the L1 table (at most 32 MiB); pieces of L2 tables, of at most 64 KiB, and
// decompressed clusters are kept in the cache that the chain's layers share. An entry that cannot
// be right is `corrupt`, with its value. Only reads the file. Thread-safe.

namespace understudy::qcow2 {
namespace {

constexpr std::uint32_t kSliceBytesBits = 16;  // 64 KiB: QEMU's l2-cache-entry-size

void to_host_order(std::vector<std::uint64_t>& words) {
    for (auto& word : words) word = be64toh(word);
}

}  // namespace

// One cluster's entry. Without extended L2 entries, the cluster is a single subcluster.
struct Layer::Cluster {
    std::uint64_t host = 0;       // 0: none; compressed: the whole entry
    std::uint32_t allocated = 0;  // bit per subcluster
    std::uint32_t zero = 0;
    bool compressed = false;

    // The run of equal subclusters that begins at `first`.
    std::pair<Mapping::Kind, std::uint32_t> run_at(std::uint32_t first, std::uint32_t count) const {
        using Kind = Mapping::Kind;
        if (compressed) return {Kind::compressed, count - first};
        auto kind = Kind::hole;
        std::uint32_t mask = ~(allocated | zero);
        if (((allocated >> first) & 1U) != 0) {
            kind = Kind::data;
            mask = allocated;
        } else if (((zero >> first) & 1U) != 0) {
            kind = Kind::zero;
            mask = zero;
        }
        const auto length = static_cast<std::uint32_t>(std::countr_one(mask >> first));
        return {kind, std::min(length, count - first)};
    }
};

Layer::Layer(ImageFile file, ImageInfo info, std::size_t index)
    : file_(std::move(file)),
      info_(std::move(info)),
      index_(index),
      cluster_bits_(info_.cluster_bits),
      l2_bits_(info_.cluster_bits - (info_.extended_l2 ? 4 : 3)),
      slice_bits_(std::min(cluster_bits_, kSliceBytesBits) - (info_.extended_l2 ? 4 : 3)),
      subclusters_(info_.extended_l2 ? kSubclusters : 1),
      words_per_entry_(info_.extended_l2 ? 2 : 1) {}

std::unexpected<Error> Layer::corrupt(std::string_view what, std::uint64_t value) const {
    return fail(Error(ErrorKind::corrupt, fmt::format("{}: {} ({:#x})", file_.path(), what, value))
                    .advising("Check the file with 'qemu-img check'."));
}

Result<Layer> Layer::open(const std::string& path, const std::string& format, std::size_t index) {
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDONLY));
    auto info = UNDERSTUDY_VALUE(probe_image(file, format));
    Layer layer(std::move(file), std::move(info), index);
    if (format == "qcow2") UNDERSTUDY_TRY(layer.load_l1());
    return layer;
}

Result<> Layer::load_l1() {
    const auto span = 1ULL << (cluster_bits_ + l2_bits_);
    l1_.resize(divide_up(size(), span));  // entries beyond the disk's end mean nothing
    UNDERSTUDY_TRY(file_.read_exact(info_.l1_table_offset, std::as_writable_bytes(std::span(l1_))));
    to_host_order(l1_);
    for (const auto entry : l1_) {
        if ((entry & kOffsetMask) % (1ULL << cluster_bits_) != 0) {
            return corrupt("L1 entry is not on a cluster's beginning", entry);
        }
    }
    return {};
}

Result<TableCache::Words> Layer::load_slice(std::uint64_t offset_in_file, TableCache& cache) const {
    const TableCache::Key key{index_, offset_in_file};
    if (auto words = cache.find(key)) return words;
    auto words = std::make_shared<std::vector<std::uint64_t>>(words_per_entry_ << slice_bits_);
    UNDERSTUDY_TRY(file_.read_exact(offset_in_file, std::as_writable_bytes(std::span(*words))));
    to_host_order(*words);
    cache.insert(key, words);
    return words;
}

Result<Layer::Cluster> Layer::decode(const std::vector<std::uint64_t>& slice,
                                     std::size_t entry) const {
    const auto word = slice[entry * words_per_entry_];
    Cluster cluster;
    if ((word & kCompressedFlag) != 0) {
        cluster.compressed = true;
        cluster.host = word;
        return cluster;
    }
    cluster.host = word & kOffsetMask;
    if (cluster.host % (1ULL << cluster_bits_) != 0) {
        return corrupt("L2 entry is not on a cluster's beginning", word);
    }
    if (info_.extended_l2) {
        const auto bitmap = slice[entry * 2 + 1];
        cluster.allocated = static_cast<std::uint32_t>(bitmap);
        cluster.zero = static_cast<std::uint32_t>(bitmap >> 32);
        if ((cluster.allocated & cluster.zero) != 0 ||
            (cluster.host == 0 && cluster.allocated != 0)) {
            return corrupt("impossible subclusters", bitmap);
        }
    } else if ((word & kZeroFlag) != 0) {
        if (info_.version < 3) return corrupt("zero cluster in a version 2 image", word);
        cluster.zero = 1;
    } else {
        cluster.allocated = cluster.host != 0 ? 1 : 0;
    }
    return cluster;
}

// For how many bytes from `offset` on, at most max_length, the L1 table has no entry.
std::uint64_t Layer::unmapped_span(std::uint64_t l1_index, std::uint64_t offset,
                                   std::uint64_t max_length) const {
    const auto span_bits = cluster_bits_ + l2_bits_;
    const auto end = offset + max_length;
    auto next = l1_index + 1;
    while (next < l1_.size() && (next << span_bits) < end && (l1_[next] & kOffsetMask) == 0) ++next;
    return std::min(end, next << span_bits) - offset;
}

Result<Mapping> Layer::map_slice(const std::vector<std::uint64_t>& slice,
                                 std::uint64_t first_cluster, std::uint64_t offset,
                                 std::uint64_t max_length) const {
    const auto cluster_size = 1ULL << cluster_bits_;
    const auto sub_size = cluster_size / subclusters_;
    const auto entries = std::size_t{1} << slice_bits_;
    Mapping run;
    auto at = offset;
    const auto end = offset + max_length;
    for (auto entry = (offset >> cluster_bits_) - first_cluster; entry < entries && at < end;
         ++entry) {
        auto cluster = UNDERSTUDY_VALUE(decode(slice, entry));
        const auto cluster_at = align_down(at, cluster_size);
        const auto first = static_cast<std::uint32_t>((at - cluster_at) / sub_size);
        const auto [kind, count] = cluster.run_at(first, subclusters_);
        const auto host =
            kind == Mapping::Kind::compressed ? cluster.host : cluster.host + (at - cluster_at);
        if (at == offset) {
            run.kind = kind;
            run.host = host;
        } else if (kind != run.kind || kind == Mapping::Kind::compressed ||
                   (kind == Mapping::Kind::data && host != run.host + (at - offset))) {
            break;
        }
        at = cluster_at + (first + count) * sub_size;
        if (at < cluster_at + cluster_size) break;
    }
    run.length = std::min(at, end) - offset;
    return run;
}

Result<Mapping> Layer::map(std::uint64_t offset, std::uint64_t max_length,
                           TableCache& cache) const {
    max_length = std::min(max_length, size() - offset);
    if (info_.format == "raw") return Mapping{Mapping::Kind::data, max_length, offset};
    const auto cluster = offset >> cluster_bits_;
    const auto l1_index = cluster >> l2_bits_;
    const auto table = l1_[l1_index] & kOffsetMask;
    if (table == 0) {
        return Mapping{Mapping::Kind::hole, unmapped_span(l1_index, offset, max_length), 0};
    }
    const auto first_cluster = align_down(cluster, 1ULL << slice_bits_);
    const auto index_in_table = first_cluster - (l1_index << l2_bits_);
    auto slice = UNDERSTUDY_VALUE(load_slice(table + index_in_table * words_per_entry_ * 8, cache));
    return map_slice(*slice, first_cluster, offset, max_length);
}

Result<Mapping> Layer::map_holes(std::uint64_t offset, std::uint64_t max_length,
                                 TableCache& cache) const {
    auto run = map(offset, max_length, cache);
    if (!run || info_.format != "raw" || file_.is_block_device()) return run;
    const auto data = lseek(file_.fd(), static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0) {
        if (errno == ENXIO) run->kind = Mapping::Kind::hole;  // nothing but a hole to the end
        return run;  // otherwise the filesystem cannot tell
    }
    if (static_cast<std::uint64_t>(data) > offset) {
        run->kind = Mapping::Kind::hole;
        run->length = std::min(run->length, static_cast<std::uint64_t>(data) - offset);
        return run;
    }
    const auto hole = lseek(file_.fd(), static_cast<off_t>(offset), SEEK_HOLE);
    if (hole > data) {
        run->length = std::min(run->length, static_cast<std::uint64_t>(hole) - offset);
    }
    return run;
}

Layer::Packed Layer::packed_place(std::uint64_t descriptor) const {
    const auto offset_bits = 62 - (cluster_bits_ - 8);
    const auto offset = descriptor & ((1ULL << offset_bits) - 1);
    const auto more_sectors = (descriptor >> offset_bits) & ((1ULL << (cluster_bits_ - 8)) - 1);
    return {offset, (more_sectors + 1) * 512 - offset % 512};  // at most twice the cluster's size
}

Result<> Layer::decompress(std::uint64_t descriptor, std::span<std::byte> cluster) const {
    const auto place = packed_place(descriptor);
    std::vector<std::byte> packed(place.length);
    auto got = UNDERSTUDY_VALUE(file_.read_some(place.offset, packed));
    packed.resize(got);
    auto done = info_.zstd ? unzstd_cluster(packed, cluster) : inflate_cluster(packed, cluster);
    if (!done) {
        return fail(std::move(done.error())
                        .during(fmt::format("read {} at byte {}", file_.path(), place.offset)));
    }
    return {};
}

Result<> Layer::read_compressed(std::uint64_t descriptor, std::uint64_t offset,
                                std::span<std::byte> into, TableCache& cache) const {
    const auto cluster_size = 1ULL << cluster_bits_;
    if (into.size() == cluster_size) return decompress(descriptor, into);
    const TableCache::Key key{index_, descriptor};
    auto words = cache.find(key);
    if (!words) {
        auto fresh = std::make_shared<std::vector<std::uint64_t>>(cluster_size / 8);
        UNDERSTUDY_TRY(decompress(descriptor, std::as_writable_bytes(std::span(*fresh))));
        words = fresh;
        cache.insert(key, words);
    }
    const auto cluster = std::as_bytes(std::span(*words));
    std::ranges::copy(cluster.subspan(offset % cluster_size, into.size()), into.begin());
    return {};
}

Result<> Layer::read_data(std::uint64_t host, std::span<std::byte> into) const {
    auto got = UNDERSTUDY_VALUE(file_.read_some(host, into));
    if (got == into.size()) return {};
    // A file may end inside its last cluster (QEMU writes only what the guest wrote), and a raw one
    // inside its last sector. What is missing there reads as zeroes. If a cluster begins behind the
    // file's end, it was lost.
    if (info_.format == "qcow2") {
        auto bytes = UNDERSTUDY_VALUE(file_.size());
        if (align_down(host + into.size() - 1, 1ULL << cluster_bits_) >= bytes) {
            return corrupt("data lies behind the file's end", host);
        }
    }
    std::ranges::fill(into.subspan(got), std::byte{0});
    return {};
}

Result<> Layer::read(const Mapping& run, std::uint64_t offset, std::span<std::byte> into,
                     TableCache& cache) const {
    if (run.kind == Mapping::Kind::compressed) {
        return read_compressed(run.host, offset, into, cache);
    }
    return read_data(run.host, into);
}

void Layer::prefetch(const Mapping& run) const {
    const auto place = run.kind == Mapping::Kind::compressed ? packed_place(run.host)
                                                             : Packed{run.host, run.length};
    posix_fadvise(file_.fd(), static_cast<off_t>(place.offset), static_cast<off_t>(place.length),
                  POSIX_FADV_WILLNEED);
}

}  // namespace understudy::qcow2
