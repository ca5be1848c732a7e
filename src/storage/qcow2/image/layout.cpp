#include "storage/qcow2/image/layout.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <span>

// Where the parts of an image that is written here are, and the bytes of its header. layout_for and
// make_header are pure. mark() changes the feature bits with one write inside of one sector, so
// after a power loss the file is marked as before or as now. read_layout takes only a file that
// layout_for could have laid out.

namespace understudy::qcow2 {
namespace {

void store_features(std::byte* incompatible_at, Completeness completeness) {
    const bool unfinished = completeness == Completeness::unfinished;
    store_be64(incompatible_at, kExtendedL2Bit | (unfinished ? kDirtyBit : 0));
    store_be64(incompatible_at + 8, unfinished ? kLazyRefcountsBit : 0);
}

Result<> check_backing(const BackingFile& backing) {
    const auto separator = backing.path.find_first_of(":/");
    const bool like_protocol = separator != std::string::npos && backing.path[separator] == ':';
    if (backing.path.empty() || backing.path.size() > kMaxBackingLength || like_protocol ||
        backing.path.find('\0') != std::string::npos) {
        return fail(ErrorKind::invalid,
                    fmt::format("'{}' cannot be the name of a qcow2 file's backing file (1 to {} "
                                "bytes, no colon before the first slash)",
                                backing.path, kMaxBackingLength));
    }
    if (backing.format != "qcow2" && backing.format != "raw") {
        return fail(ErrorKind::invalid, fmt::format("backing format '{}'", backing.format));
    }
    return {};
}

}  // namespace

Result<Layout> layout_for(ByteSize size) {
    if (size.count() % 512 != 0 || size.count() > (1ULL << 55)) {  // L2 entries hold 56 bits
        return fail(ErrorKind::invalid,
                    fmt::format("a qcow2 disk cannot have {} bytes", size.count()));
    }
    Layout layout{.size = size};
    layout.l1_entries = std::max<std::uint64_t>(1, divide_up(size.count(), kTableSpan));
    layout.l1_offset = kClusterSize;
    layout.refcount_table_offset = layout.l1_offset + align_up(layout.l1_entries * 8, kClusterSize);
    // Room to count a file of twice the disk's size: crashes can leave allocated space that nothing
    // uses.
    layout.refcount_table_clusters =
        1 + size.count() / (kBlocksPerRefcountTable * kRefcountsPerBlock * kClusterSize / 2);
    layout.first_free =
        layout.refcount_table_offset + layout.refcount_table_clusters * kClusterSize;
    return layout;
}

Result<std::vector<std::byte>> make_header(const Layout& layout,
                                           const std::optional<BackingFile>& backing,
                                           Completeness completeness) {
    std::vector<std::byte> header(kHeaderLengthWritten);
    store_be32(header.data(), kMagic);
    store_be32(&header[kVersionAt], 3);
    store_be32(&header[kClusterBitsAt], kClusterBits);
    store_be64(&header[kSizeAt], layout.size.count());
    store_be32(&header[kL1EntriesAt], static_cast<std::uint32_t>(layout.l1_entries));
    store_be64(&header[kL1OffsetAt], layout.l1_offset);
    store_be64(&header[kRefcountTableOffsetAt], layout.refcount_table_offset);
    store_be32(&header[kRefcountTableClustersAt],
               static_cast<std::uint32_t>(layout.refcount_table_clusters));
    store_features(&header[kIncompatibleAt], completeness);
    store_be32(&header[kRefcountOrderAt], kRefcountOrder);
    store_be32(&header[kHeaderLengthAt], kHeaderLengthWritten);
    const auto append = [&header](const std::string& text, std::size_t length) {
        const auto at = header.size();
        header.resize(at + length);
        std::ranges::copy(std::as_bytes(std::span(text)), header.data() + at);
    };
    if (backing) {
        UNDERSTUDY_TRY(check_backing(*backing));
        header.resize(header.size() + 8);
        store_be32(&header[header.size() - 8], kExtensionBackingFormat);
        store_be32(&header[header.size() - 4], static_cast<std::uint32_t>(backing->format.size()));
        append(backing->format, align_up(backing->format.size(), 8));
    }
    header.resize(header.size() + 8);  // the end of the extensions
    if (backing) {
        store_be64(&header[kBackingOffsetAt], header.size());
        store_be32(&header[kBackingLengthAt], static_cast<std::uint32_t>(backing->path.size()));
        append(backing->path, backing->path.size());
    }
    return header;
}

Result<> mark(ImageFile& file, Completeness completeness) {
    std::array<std::byte, 16> features{};
    store_features(features.data(), completeness);
    return file.write(kIncompatibleAt, features);
}

Result<Layout> read_layout(const ImageFile& file) {
    auto info = UNDERSTUDY_VALUE(probe_image(file, "qcow2"));
    std::array<std::byte, kHeaderLengthWritten> header{};
    UNDERSTUDY_TRY(file.read_exact(0, header));
    auto layout = layout_for(info.size);
    if (layout && info.version == 3 && info.extended_l2 && info.cluster_bits == kClusterBits &&
        info.l1_entries == layout->l1_entries && info.l1_table_offset == layout->l1_offset &&
        load_be64(&header[kRefcountTableOffsetAt]) == layout->refcount_table_offset &&
        load_be32(&header[kRefcountTableClustersAt]) == layout->refcount_table_clusters &&
        load_be32(&header[kRefcountOrderAt]) == kRefcountOrder && !info.has_internal_snapshots) {
        return layout;
    }
    return fail(ErrorKind::corrupt,
                fmt::format("{} is not a layer that Understudy began to write", file.path()));
}

}  // namespace understudy::qcow2
