#pragma once

#include "base/error.hpp"
#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/layout.hpp"

#include <cstdint>
#include <vector>

namespace understudy::qcow2 {

// Which clusters of a file are in use, one bit each: 1 MiB for each TiB of file.
class ClusterMap {
public:
    explicit ClusterMap(std::uint64_t clusters) : used_(clusters, false) {}

    // False: outside of the map, or in use already.
    bool take(std::uint64_t cluster);
    bool is_used(std::uint64_t cluster) const { return cluster < used_.size() && used_[cluster]; }
    std::uint64_t end() const { return end_; }  // one past the last used cluster

private:
    std::vector<bool> used_;
    std::uint64_t end_ = 0;
};

// What the header, the L1 table and every L2 table of an image refer to, as they are in the file.
// corrupt: a reference outside of the file, twice to one place, or of a kind never written here.
Result<ClusterMap> collect_references(const ImageFile& file, const Layout& layout);

// Writes the counts of exactly `used` behind the last used cluster, and the table that leads to
// them; frees what is not in use. Not synced. The file must be marked unfinished.
Result<> write_refcounts(ImageFile& file, const Layout& layout, const ClusterMap& used);

}  // namespace understudy::qcow2
