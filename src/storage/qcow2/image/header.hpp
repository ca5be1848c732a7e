#pragma once

#include "base/error.hpp"
#include "base/units.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace understudy::qcow2 {

class ImageFile;

// The file below a layer, as the layer's header names it.
struct BackingFile {
    std::string path;    // as written in the header; relative to the layer's own directory
    std::string format;  // "qcow2" or "raw"; empty when the header does not say
    bool operator==(const BackingFile&) const = default;
};

// What a disk image file says about itself.
struct ImageInfo {
    std::string format;              // "qcow2" or "raw"
    ByteSize size = {};              // the disk's size as a guest sees it, whole 512-byte sectors
    std::uint32_t version = 0;       // qcow2: 2 or 3
    std::uint32_t cluster_bits = 0;  // qcow2: 9 … 21
    bool extended_l2 = false;        // qcow2: 32 subclusters per cluster
    bool zstd = false;               // qcow2: compressed clusters are zstd, else raw deflate
    bool dirty = false;              // qcow2: refcounts not to be trusted; reading is safe
    bool has_internal_snapshots = false;
    std::optional<BackingFile> backing = {};
    std::uint64_t l1_entries = 0;       // qcow2: length of the active L1 table
    std::uint64_t l1_table_offset = 0;  // qcow2: bytes from the file's beginning
};

// Reads a header. `format` is what the caller knows from the VM's definition or the layer above: a
// guest decides what a raw disk contains, so contents are never guessed from.
// unsupported: encryption, external data file, unknown incompatible features, a version other than
// 2 and 3, a backing file that is not a local path. corrupt: marked corrupt, or malformed.
Result<ImageInfo> probe_image(const std::string& path, const std::string& format);
Result<ImageInfo> probe_image(const ImageFile& file, const std::string& format);

}  // namespace understudy::qcow2
