#include "base/base64.hpp"
#include "protocol/json_fields.hpp"
#include "protocol/messages.hpp"
#include "protocol/packing.hpp"
#include "protocol/text.hpp"

#include <bit>
#include <cstring>

// JSON bodies of a comparison: questions for digests, ranges and contents, and their answers.
// Digests travel as bytes, packed by zstd: a tag for each block, and 32 bytes after it if it has
// data. Counts, lengths and packed sizes are bounded. Pure.

namespace understudy::protocol {
namespace {

using detail::decoded;
using detail::dump;
using detail::field;
using detail::id_field;
using detail::list_field;
using detail::Malformed;
using nlohmann::json;
using Kind = model::BlockDigest::Kind;

constexpr std::size_t kMaxPackedDigests = kMaxDigests * (1 + sizeof(model::Sha256));

template <class T>
T value_or_throw(Result<T> result) {
    if (!result) throw Malformed(result.error().what());
    return std::move(*result);
}

model::ByteRange read_range(const json& j) {
    return {ByteOffset(field<std::uint64_t>(j, "offset")),
            ByteSize(field<std::uint64_t>(j, "length"))};
}

void check_ranges(const model::DigestQuestion& v) {
    const auto block = v.block.count();
    if (!std::has_single_bit(block) || v.block < model::kSmallestBlock ||
        v.block > model::kLargestBlock)
        throw Malformed(fmt::format("block: {} bytes", block));
    if (v.ranges.empty() || v.ranges.size() > kMaxDigestRanges)
        throw Malformed(fmt::format("ranges: {}, 1 to {}", v.ranges.size(), kMaxDigestRanges));
    ByteOffset reached;
    // A block may reach beyond the disk's end.
    const auto most = kMaxDisk.count() + model::kLargestBlock.count();
    for (const auto& range : v.ranges) {
        const auto offset = range.offset.count();
        const auto length = range.length.count();
        if (offset > most || length > most || length == 0 || offset % block != 0 ||
            length % block != 0 || range.offset < reached)
            throw Malformed(fmt::format("ranges: {}+{}", offset, length));
        reached = range.end();
    }
}

std::string packed_digests(const std::vector<model::BlockDigest>& blocks) {
    std::string bytes;
    for (const auto& block : blocks) {
        bytes.push_back(static_cast<char>(block.kind));
        if (block.kind == Kind::data)
            bytes.append(reinterpret_cast<const char*>(block.digest.data()), block.digest.size());
    }
    return bytes;
}

std::vector<model::BlockDigest> digests_from(std::string_view bytes) {
    std::vector<model::BlockDigest> blocks;
    while (!bytes.empty()) {
        if (blocks.size() == kMaxDigests) throw Malformed("digests: too many");
        model::BlockDigest block;
        const auto tag = static_cast<unsigned char>(bytes.front());
        if (tag > static_cast<unsigned char>(Kind::unreadable))
            throw Malformed(fmt::format("digests: tag {}", tag));
        block.kind = static_cast<Kind>(tag);
        bytes.remove_prefix(1);
        if (block.kind == Kind::data) {
            if (bytes.size() < block.digest.size()) throw Malformed("digests: cut off");
            std::memcpy(block.digest.data(), bytes.data(), block.digest.size());
            bytes.remove_prefix(block.digest.size());
        }
        blocks.push_back(block);
    }
    return blocks;
}

}  // namespace

std::string encode_digest_question(const model::DigestQuestion& v) {
    return dump({{"vm", v.vm.text()},
                 {"snapshot", v.snapshot.text()},
                 {"volume", v.volume.text()},
                 {"block", v.block},
                 {"ranges", v.ranges}});
}

Result<model::DigestQuestion> decode_digest_question(std::string_view body) {
    return decoded(body, "the question for digests", [](const json& j) {
        model::DigestQuestion v{.vm = id_field<VmId>(j, "vm"),
                                .snapshot = id_field<SnapshotId>(j, "snapshot"),
                                .volume = id_field<VolumeId>(j, "volume"),
                                .block = ByteSize(field<std::uint64_t>(j, "block")),
                                .ranges = {}};
        for (const auto& entry : list_field<json>(j, "ranges"))
            v.ranges.push_back(detail::inside("ranges", [&] { return read_range(entry); }));
        check_ranges(v);
        return v;
    });
}

Result<std::string> encode_digest_answer(const model::DigestAnswer& v) {
    auto packed = UNDERSTUDY_VALUE(pack(packed_digests(v.blocks), kMaxPackedDigests, "digests"));
    return dump({{"digests_zstd", std::move(packed)},
                 {"failure", std::string(cut_text(v.failure, kMaxErrorText))}});
}

Result<model::DigestAnswer> decode_digest_answer(std::string_view body) {
    return decoded(body, "the answer with digests", [](const json& j) {
        model::DigestAnswer v;
        v.blocks = digests_from(value_or_throw(
            unpack(field<std::string>(j, "digests_zstd"), kMaxPackedDigests, "digests_zstd")));
        v.failure = printable(cut_text(field<std::string>(j, "failure"), kMaxErrorText));
        return v;
    });
}

std::string encode_range_question(const model::RangeQuestion& v) {
    return dump({{"vm", v.vm.text()},
                 {"snapshot", v.snapshot.text()},
                 {"volume", v.volume.text()},
                 {"offset", v.offset},
                 {"length", v.length}});
}

Result<model::RangeQuestion> decode_range_question(std::string_view body) {
    return decoded(body, "the question for a range", [](const json& j) {
        model::RangeQuestion v{.vm = id_field<VmId>(j, "vm"),
                               .snapshot = id_field<SnapshotId>(j, "snapshot"),
                               .volume = id_field<VolumeId>(j, "volume"),
                               .offset = ByteOffset(field<std::uint64_t>(j, "offset")),
                               .length = ByteSize(field<std::uint64_t>(j, "length"))};
        if (v.length.count() == 0 || v.length > kMaxRange)
            throw Malformed(fmt::format("length: {} bytes", v.length.count()));
        if (v.offset.count() > kMaxDisk.count()) throw Malformed("offset: beyond any disk");
        return v;
    });
}

Result<std::string> encode_range_reply(const RangeReply& v) {
    auto packed = UNDERSTUDY_VALUE(pack(v.bytes, kMaxRange.count(), "a range of a disk"));
    const std::string_view digest(reinterpret_cast<const char*>(v.sha256.data()), v.sha256.size());
    return dump({{"bytes_zstd", std::move(packed)}, {"sha256", base::base64_encode(digest)}});
}

Result<RangeReply> decode_range_reply(std::string_view body) {
    return decoded(body, "the answer with a range", [](const json& j) {
        RangeReply v;
        v.bytes = value_or_throw(
            unpack(field<std::string>(j, "bytes_zstd"), kMaxRange.count(), "bytes_zstd"));
        const auto digest = value_or_throw(base::base64_decode(field<std::string>(j, "sha256")));
        if (digest.size() != v.sha256.size()) throw Malformed("sha256: not 32 bytes");
        std::memcpy(v.sha256.data(), digest.data(), digest.size());
        return v;
    });
}

std::string encode_contents_question(const ContentsQuestion& v) {
    auto volumes = json::array();
    for (const auto& volume : v.volumes) volumes.push_back(volume.text());
    return dump({{"vm", v.vm.text()}, {"volumes", std::move(volumes)}});
}

Result<ContentsQuestion> decode_contents_question(std::string_view body) {
    return decoded(body, "the question for contents", [](const json& j) {
        ContentsQuestion v{.vm = id_field<VmId>(j, "vm"), .volumes = {}};
        for (const auto& text : list_field<std::string>(j, "volumes"))
            v.volumes.push_back(value_or_throw(VolumeId::parse(text)));
        if (v.volumes.size() > kMaxDisks) throw Malformed("volumes: too many entries");
        return v;
    });
}

std::string encode_contents_reply(const std::vector<model::VolumeBase>& contents) {
    return dump({{"contents", contents}});
}

Result<std::vector<model::VolumeBase>> decode_contents_reply(std::string_view body) {
    return decoded(body, "the answer with contents", [](const json& j) {
        std::vector<model::VolumeBase> contents;
        for (const auto& entry : list_field<json>(j, "contents"))
            contents.push_back(detail::inside("contents", [&] {
                return model::VolumeBase{id_field<VolumeId>(entry, "volume"),
                                         id_field<SnapshotId>(entry, "snapshot")};
            }));
        if (contents.size() > kMaxDisks) throw Malformed("contents: too many entries");
        return contents;
    });
}

}  // namespace understudy::protocol
