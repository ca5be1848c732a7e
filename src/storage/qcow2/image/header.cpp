#include "storage/qcow2/image/header.hpp"

#include "storage/qcow2/image/file.hpp"
#include "storage/qcow2/image/format.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <limits>
#include <vector>

// Reads what an image file says about itself: first the fixed header, then the features of version
// 3, the place of the L1 table, and at last the header's extensions and the name of the backing
// file. Every offset and length is checked against the first cluster or the file before it is used.
// If the file is raw, only its size is read, never its content. Memory: at most one cluster (2
// MiB). Nothing is kept.

namespace understudy::qcow2 {
namespace {

std::unexpected<Error> malformed(const std::string& path, std::string_view what) {
    return fail(Error(ErrorKind::corrupt, fmt::format("{}: {}", path, what))
                    .advising("Check the file with 'qemu-img check'."));
}

std::unexpected<Error> unsupported(const std::string& path, std::string_view what) {
    return fail(ErrorKind::unsupported, fmt::format("{}: {}", path, what));
}

using HeaderBytes = std::array<std::byte, kHeaderLengthWritten>;

// Features and everything else that only version 3 has. Returns where extensions begin.
Result<std::uint32_t> read_version_3(const std::string& path, const HeaderBytes& header,
                                     ImageInfo& info) {
    const auto features = load_be64(&header[kIncompatibleAt]);
    if ((features & ~kKnownIncompatible) != 0) {
        return unsupported(
            path, fmt::format("unknown qcow2 feature bits {:#x}", features & ~kKnownIncompatible));
    }
    if ((features & kCorruptBit) != 0) return malformed(path, "QEMU marked this image as corrupt");
    if ((features & kExternalDataBit) != 0) {
        return unsupported(path, "its data is in another file (qcow2 external data file)");
    }
    info.dirty = (features & kDirtyBit) != 0;
    info.extended_l2 = (features & kExtendedL2Bit) != 0;
    const auto length = load_be32(&header[kHeaderLengthAt]);
    if (length < kHeaderLengthV3 || length % 8 != 0 || length > (1U << info.cluster_bits)) {
        return malformed(path, fmt::format("impossible header length {}", length));
    }
    if (load_be32(&header[kRefcountOrderAt]) > 6) return malformed(path, "impossible refcounts");
    const auto compression =
        length > kHeaderLengthV3 ? std::to_integer<unsigned>(header[kCompressionAt]) : 0U;
    if (compression > 1) {
        return unsupported(path, fmt::format("unknown compression type {}", compression));
    }
    if ((compression != 0) != ((features & kCompressionBit) != 0)) {
        return malformed(path, "compression type and its feature bit disagree");
    }
    info.zstd = compression == 1;
    if (info.extended_l2 && info.cluster_bits < 14) {
        return malformed(path, "clusters too small for subclusters");
    }
    return length;
}

Result<> check_l1(const std::string& path, std::uint64_t file_size, const ImageInfo& info) {
    const std::uint32_t l2_bits = info.cluster_bits - (info.extended_l2 ? 4U : 3U);
    const auto needed = divide_up(info.size.count(), 1ULL << (info.cluster_bits + l2_bits));
    if (info.l1_entries * 8 > kMaxL1Bytes) return malformed(path, "L1 table is too large");
    if (info.l1_entries < needed) return malformed(path, "L1 table is too small for the disk");
    if (info.l1_entries == 0) return {};
    if (info.l1_table_offset % (1ULL << info.cluster_bits) != 0 || info.l1_table_offset == 0 ||
        info.l1_table_offset > file_size ||
        info.l1_entries * 8 > file_size - info.l1_table_offset) {
        return malformed(path, "L1 table lies outside the file");
    }
    return {};
}

// Reads the header extensions. `bytes` begins where they begin and ends where they must end.
Result<> read_extensions(const std::string& path, std::span<const std::byte> bytes,
                         BackingFile& backing) {
    std::size_t at = 0;
    while (bytes.size() - at >= 8) {
        const auto type = load_be32(&bytes[at]);
        const auto length = load_be32(&bytes[at + 4]);
        at += 8;
        if (type == kExtensionEnd) return {};
        if (length > bytes.size() - at) return malformed(path, "header extension is too long");
        if (type == kExtensionBackingFormat) {
            if (length > 15) return malformed(path, "backing format name is too long");
            backing.format.assign(reinterpret_cast<const char*>(bytes.data() + at), length);
        }
        at = std::min<std::size_t>(bytes.size(), at + align_up(length, 8));
    }
    return {};
}

Result<> check_backing(const std::string& path, BackingFile& backing) {
    if (backing.path.find('\0') != std::string::npos ||
        backing.format.find('\0') != std::string::npos) {
        return malformed(path, "NUL byte in the name or format of its backing file");
    }
    if (backing.path.starts_with("file:")) backing.path.erase(0, 5);
    // As QEMU decides it: a colon before any slash begins with a protocol ("nbd:", "json:").
    const auto separator = backing.path.find_first_of(":/");
    if (separator != std::string::npos && backing.path[separator] == ':') {
        return unsupported(path, fmt::format("backing file '{}' is not a local file",
                                             backing.path.substr(0, separator + 1)));
    }
    if (!backing.format.empty() && backing.format != "qcow2" && backing.format != "raw") {
        return unsupported(path, fmt::format("backing file {} has format '{}'; only qcow2 and raw "
                                             "can be read",
                                             backing.path, backing.format));
    }
    return {};
}

Result<> read_backing(const ImageFile& file, const HeaderBytes& header, std::uint32_t extensions_at,
                      ImageInfo& info) {
    const std::uint64_t cluster_size = 1ULL << info.cluster_bits;
    const auto name_at = load_be64(&header[kBackingOffsetAt]);
    const auto name_length = load_be32(&header[kBackingLengthAt]);
    if (name_at != 0 && (name_at >= cluster_size || name_at < extensions_at ||
                         name_length > std::min(kMaxBackingLength, cluster_size - name_at))) {
        return malformed(file.path(), "name of its backing file lies outside the header");
    }
    std::vector<std::byte> bytes(name_at != 0 ? name_at + name_length : cluster_size);
    auto got = UNDERSTUDY_VALUE(file.read_some(0, bytes));
    if (name_at != 0 && got < bytes.size()) return malformed(file.path(), "header is cut off");
    bytes.resize(got);
    BackingFile backing;
    const auto extensions_end = name_at != 0 ? name_at : bytes.size();
    if (extensions_end > extensions_at) {
        UNDERSTUDY_TRY(read_extensions(
            file.path(), std::span(bytes).subspan(extensions_at, extensions_end - extensions_at),
            backing));
    }
    if (name_at == 0 || name_length == 0) return {};
    backing.path.assign(reinterpret_cast<const char*>(bytes.data() + name_at), name_length);
    UNDERSTUDY_TRY(check_backing(file.path(), backing));
    info.backing = std::move(backing);
    return {};
}

Result<ImageInfo> read_qcow2_header(const ImageFile& file) {
    const auto& path = file.path();
    auto file_size = UNDERSTUDY_VALUE(file.size());
    HeaderBytes header{};
    auto got = UNDERSTUDY_VALUE(file.read_some(0, header));
    if (got < kHeaderLengthV2 || load_be32(header.data()) != kMagic) {
        return malformed(path, "this is not a qcow2 image");
    }
    ImageInfo info{.format = "qcow2"};
    info.version = load_be32(&header[kVersionAt]);
    if (info.version != 2 && info.version != 3) {
        return unsupported(path, fmt::format("qcow2 version {}", info.version));
    }
    info.cluster_bits = load_be32(&header[kClusterBitsAt]);
    if (info.cluster_bits < 9 || info.cluster_bits > 21) {
        return malformed(path, fmt::format("impossible cluster size 2^{}", info.cluster_bits));
    }
    if (load_be32(&header[kCryptAt]) != 0) return unsupported(path, "the image is encrypted");
    const auto size = load_be64(&header[kSizeAt]);
    if (size > std::numeric_limits<std::int64_t>::max()) return malformed(path, "impossible size");
    info.size = ByteSize(align_down(size, 512));
    std::uint32_t extensions_at = kHeaderLengthV2;
    if (info.version == 3) {
        if (got < kHeaderLengthV3) return malformed(path, "header is cut off");
        auto length = UNDERSTUDY_VALUE(read_version_3(path, header, info));
        extensions_at = length;
    }
    info.l1_entries = load_be32(&header[kL1EntriesAt]);
    info.l1_table_offset = load_be64(&header[kL1OffsetAt]);
    UNDERSTUDY_TRY(check_l1(path, file_size, info));
    info.has_internal_snapshots = load_be32(&header[kSnapshotCountAt]) != 0;
    UNDERSTUDY_TRY(read_backing(file, header, extensions_at, info));
    return info;
}

}  // namespace

Result<ImageInfo> probe_image(const ImageFile& file, const std::string& format) {
    if (format == "qcow2") return read_qcow2_header(file);
    if (format != "raw") {
        return fail(ErrorKind::unsupported,
                    fmt::format("{}: disk format '{}'; only qcow2 and raw can be read", file.path(),
                                format));
    }
    auto bytes = UNDERSTUDY_VALUE(file.size());
    // QEMU shows a guest whole sectors; past the file's end they read as zeroes.
    return ImageInfo{.format = "raw", .size = ByteSize(align_up(bytes, 512))};
}

Result<ImageInfo> probe_image(const std::string& path, const std::string& format) {
    auto file = UNDERSTUDY_VALUE(ImageFile::open(path, O_RDONLY));
    return probe_image(file, format);
}

}  // namespace understudy::qcow2
