#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/format.hpp"
#include "storage/qcow2/image/header.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace understudy::qcow2 {

// The one geometry that Understudy writes: 128 KiB clusters of 32 subclusters, so that a 4 KiB
// write of a guest is told apart, with 16-bit refcounts.
inline constexpr std::uint32_t kClusterBits = 17;
inline constexpr std::uint64_t kClusterSize = 1ULL << kClusterBits;
inline constexpr std::uint64_t kSubclusterSize = kClusterSize / kSubclusters;
inline constexpr std::uint64_t kTableEntries = kClusterSize / 16;           // of one L2 table
inline constexpr std::uint64_t kTableSpan = kTableEntries * kClusterSize;   // 1 GiB of disk
inline constexpr std::uint32_t kRefcountOrder = 4;                          // 16 bits
inline constexpr std::uint64_t kRefcountsPerBlock = kClusterSize / 2;       // 8 GiB of file
inline constexpr std::uint64_t kBlocksPerRefcountTable = kClusterSize / 8;  // per cluster of it

// Where a new image's fixed parts are: header, L1 table, refcount table, then everything else in
// the order of its allocation.
struct Layout {
    ByteSize size;  // of the disk
    std::uint64_t l1_entries = 0;
    std::uint64_t l1_offset = 0;  // bytes
    std::uint64_t refcount_table_offset = 0;
    std::uint64_t refcount_table_clusters = 0;
    std::uint64_t first_free = 0;  // bytes; the first place for tables and data
};

Result<Layout> layout_for(ByteSize size);  // invalid: not whole sectors, or too large

enum class Completeness { unfinished, finished };

// invalid: a backing file that the header cannot express.
Result<std::vector<std::byte>> make_header(const Layout& layout,
                                           const std::optional<BackingFile>& backing,
                                           Completeness completeness);
// Changes only the feature bits of an existing header: one write within one sector.
Result<> mark(ImageFile& file, Completeness completeness);

// The layout of an existing file. corrupt: it was not laid out by layout_for.
Result<Layout> read_layout(const ImageFile& file);

}  // namespace understudy::qcow2
