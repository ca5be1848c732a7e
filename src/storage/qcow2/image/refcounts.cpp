#include "storage/qcow2/image/refcounts.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <span>

// The refcounts of an image that is written here. collect_references reads the L1 table and every
// L2 table and takes each cluster that they refer to, at most once; anything else is `corrupt`.
// write_refcounts frees what is not in use, then writes the counts behind the last cluster in use,
// then their table. The file is marked unfinished meanwhile, so after a crash nobody trusts them,
// and finish() writes them anew. Memory: one bit per cluster of 128 KiB.

namespace understudy::qcow2 {
namespace {

std::unexpected<Error> broken(const ImageFile& file, std::string_view what, std::uint64_t entry) {
    return fail(ErrorKind::corrupt, fmt::format("{}: {} ({:#x})", file.path(), what, entry));
}

// Takes the cluster that an L1 or L2 entry refers to.
Result<> take_entry(const ImageFile& file, ClusterMap& used, std::uint64_t entry) {
    const auto offset = entry & ~kCopiedFlag;
    if (offset % kClusterSize != 0 || !used.take(offset / kClusterSize)) {
        return broken(file, "an entry that cannot be", entry);
    }
    return {};
}

Result<> take_table(const ImageFile& file, ClusterMap& used, std::uint64_t offset) {
    std::vector<std::uint64_t> words(kClusterSize / 8);
    UNDERSTUDY_TRY(file.read_exact(offset, std::as_writable_bytes(std::span(words))));
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const auto entry = be64toh(words[i]);
        const auto bitmap = be64toh(words[i + 1]);
        if (entry != 0) UNDERSTUDY_TRY(take_entry(file, used, entry));
        if (((bitmap & (bitmap >> 32)) & 0xffffffff) != 0 || (entry == 0 && bitmap << 32 != 0)) {
            return broken(file, "impossible subclusters", bitmap);
        }
    }
    return {};
}

Result<> free_unused(ImageFile& file, const ClusterMap& used) {
    for (std::uint64_t cluster = 0; cluster < used.end();) {
        auto end = cluster;
        while (end < used.end() && !used.is_used(end)) ++end;
        if (end > cluster) {
            UNDERSTUDY_TRY(file.punch_hole(cluster * kClusterSize, (end - cluster) * kClusterSize));
        }
        cluster = end + 1;
    }
    return file.truncate(used.end() * kClusterSize);
}

}  // namespace

bool ClusterMap::take(std::uint64_t cluster) {
    if (cluster >= used_.size() || used_[cluster]) return false;
    used_[cluster] = true;
    end_ = std::max(end_, cluster + 1);
    return true;
}

Result<ClusterMap> collect_references(const ImageFile& file, const Layout& layout) {
    auto bytes = UNDERSTUDY_VALUE(file.size());
    const auto fixed = layout.first_free / kClusterSize;
    ClusterMap used(std::max(fixed, divide_up(bytes, kClusterSize)));
    for (std::uint64_t cluster = 0; cluster < fixed; ++cluster) used.take(cluster);
    std::vector<std::uint64_t> l1(layout.l1_entries);
    UNDERSTUDY_TRY(file.read_exact(layout.l1_offset, std::as_writable_bytes(std::span(l1))));
    for (const auto word : l1) {
        const auto entry = be64toh(word);
        if (entry == 0) continue;
        UNDERSTUDY_TRY(take_entry(file, used, entry));
        UNDERSTUDY_TRY(take_table(file, used, entry & ~kCopiedFlag));
    }
    return used;
}

Result<> write_refcounts(ImageFile& file, const Layout& layout, const ClusterMap& used) {
    UNDERSTUDY_TRY(free_unused(file, used));
    const auto first_block = used.end();
    auto blocks = divide_up(first_block, kRefcountsPerBlock);
    while (divide_up(first_block + blocks, kRefcountsPerBlock) > blocks) ++blocks;
    if (blocks > layout.refcount_table_clusters * kBlocksPerRefcountTable) {
        return fail(ErrorKind::internal, fmt::format("{} is too large to count", file.path()));
    }
    const auto end = first_block + blocks;
    UNDERSTUDY_TRY(file.truncate(end * kClusterSize));
    std::vector<std::uint64_t> table(blocks);
    std::vector<std::uint16_t> counts(kRefcountsPerBlock);
    for (std::uint64_t block = 0; block < blocks; ++block) {
        const auto first = block * kRefcountsPerBlock;
        for (std::uint64_t i = 0; i < kRefcountsPerBlock; ++i) {
            const auto cluster = first + i;
            const bool in_use = used.is_used(cluster) || (cluster >= first_block && cluster < end);
            counts[i] = htobe16(in_use ? 1 : 0);
        }
        // The rest of the last block is a hole already.
        const auto length = std::min(kRefcountsPerBlock, end - first);
        const auto place = (first_block + block) * kClusterSize;
        UNDERSTUDY_TRY(file.write(place, std::as_bytes(std::span(counts).first(length))));
        table[block] = htobe64(place);
    }
    return file.write(layout.refcount_table_offset, std::as_bytes(std::span(table)));
}

}  // namespace understudy::qcow2
