#pragma once

#include "base/error.hpp"
#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/image/table_cache.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace understudy::qcow2 {

// What one layer knows of a run of the disk's bytes.
struct Mapping {
    enum class Kind {
        hole,        // nothing: ask the layer below
        zero,        // zeroes, whatever is below
        data,        // bytes at `host` of the layer's file
        compressed,  // part of the one cluster that `host` describes
    };
    Kind kind = Kind::hole;
    std::uint64_t length = 0;
    std::uint64_t host = 0;  // data: file offset; compressed: the L2 entry
};

// One frozen image file by itself; its backing file is not opened. Thread-safe. Every offset and
// length that comes from the file is checked before use.
class Layer {
public:
    // index: names this layer in the shared cache.
    static Result<Layer> open(const std::string& path, const std::string& format,
                              std::size_t index);

    const ImageInfo& info() const { return info_; }
    const ImageFile& file() const { return file_; }
    std::uint64_t size() const { return info_.size.count(); }

    // The run at `offset` (below size()), 1 … max_length bytes; the next run may be of the same
    // kind. A raw file is data throughout.
    Result<Mapping> map(std::uint64_t offset, std::uint64_t max_length, TableCache& cache) const;
    // The same, but holes of a raw file are reported as holes if the filesystem knows them.
    Result<Mapping> map_holes(std::uint64_t offset, std::uint64_t max_length,
                              TableCache& cache) const;
    // Reads a part of a data or compressed run; `offset` is the place on the disk.
    Result<> read(const Mapping& run, std::uint64_t offset, std::span<std::byte> into,
                  TableCache& cache) const;
    void prefetch(const Mapping& run) const;

private:
    struct Packed {  // where a compressed cluster is
        std::uint64_t offset;
        std::uint64_t length;
    };
    struct Cluster;

    Layer(ImageFile file, ImageInfo info, std::size_t index);
    Result<> load_l1();
    Result<TableCache::Words> load_slice(std::uint64_t offset_in_file, TableCache& cache) const;
    Result<Cluster> decode(const std::vector<std::uint64_t>& slice, std::size_t entry) const;
    Result<Mapping> map_slice(const std::vector<std::uint64_t>& slice, std::uint64_t first_cluster,
                              std::uint64_t offset, std::uint64_t max_length) const;
    std::uint64_t unmapped_span(std::uint64_t l1_index, std::uint64_t offset,
                                std::uint64_t max_length) const;
    Packed packed_place(std::uint64_t descriptor) const;
    Result<> read_data(std::uint64_t host, std::span<std::byte> into) const;
    Result<> read_compressed(std::uint64_t descriptor, std::uint64_t offset,
                             std::span<std::byte> into, TableCache& cache) const;
    Result<> decompress(std::uint64_t descriptor, std::span<std::byte> cluster) const;
    std::unexpected<Error> corrupt(std::string_view what, std::uint64_t value) const;

    ImageFile file_;
    ImageInfo info_;
    std::size_t index_;
    std::uint32_t cluster_bits_;
    std::uint32_t l2_bits_;        // log2 of the entries of an L2 table
    std::uint32_t slice_bits_;     // log2 of the entries that are loaded at once
    std::uint32_t subclusters_;    // 1 or 32
    std::size_t words_per_entry_;  // 1 or 2
    std::vector<std::uint64_t> l1_;
};

}  // namespace understudy::qcow2
