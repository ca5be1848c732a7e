#include "protocol/frames.hpp"

#include "protocol/little_endian.hpp"
#include "protocol/text.hpp"

#include <fmt/format.h>

#include <algorithm>

// The frames of a channel as bytes, as WIRE.md has them: encoding, and decoding with every check
// that needs no knowledge of the transfer. decode_header checks size, magic and checksum first,
// then each field and its bounds; only after that a caller may read the payload that the header
// announces. A control frame's payload has a checksum in the header's digest field. Pure: no I/O.

namespace understudy::protocol {
namespace {

using model::Codec;
using model::ExtentKind;

// Where each field lies; WIRE.md has the same table.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kTypeAt = 4;
constexpr std::size_t kKindAt = 5;
constexpr std::size_t kCodecAt = 6;
constexpr std::size_t kReservedAt = 7;
constexpr std::size_t kDiskAt = 8;
constexpr std::size_t kPayloadLengthAt = 12;
constexpr std::size_t kSequenceAt = 16;
constexpr std::size_t kOffsetAt = 24;
constexpr std::size_t kLengthAt = 32;
constexpr std::size_t kDigestAt = 40;
constexpr std::size_t kCheckAt = 56;

constexpr std::array<char, 4> kMagic{'U', 'S', 'F', '1'};

// FNV-1a, 64 bit (RFC 9923). Each step is invertible, so any change of one byte is noticed.
std::uint64_t check_of(std::span<const std::byte> bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const auto byte : bytes)
        hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
    return hash;
}

HeaderBytes encode(const FrameHeader& header) {
    HeaderBytes bytes{};
    const std::span into(bytes);
    put(into, kMagicAt, kMagic);
    put(into, kTypeAt, header.type);
    put(into, kKindAt, static_cast<std::uint8_t>(header.kind));
    put(into, kCodecAt, header.codec);
    put(into, kDiskAt, header.disk);
    put(into, kPayloadLengthAt, header.payload_length);
    put(into, kSequenceAt, header.sequence);
    put(into, kOffsetAt, header.offset.count());
    put(into, kLengthAt, header.length.count());
    put(into, kDigestAt, header.digest);
    put(into, kCheckAt, check_of(into.first(kCheckAt)));
    return bytes;
}

// A control frame has no content to digest, so this field has the checksum of its payload.
model::Digest payload_check(std::span<const std::byte> payload) {
    model::Digest digest{};
    put(std::span(digest), 0, check_of(payload));
    return digest;
}

HeaderBytes control_header(FrameType type, std::uint64_t sequence,
                           std::span<const std::byte> payload) {
    FrameHeader header;
    header.type = type;
    header.sequence = sequence;
    header.payload_length = static_cast<std::uint32_t>(payload.size());
    header.digest = payload_check(payload);
    return encode(header);
}

template <class... Args>
std::unexpected<Error> bad_frame(fmt::format_string<Args...> format, Args&&... args) {
    return fail(ErrorKind::invalid,
                "malformed frame: " + fmt::format(format, std::forward<Args>(args)...));
}

Result<> check_chunk(const FrameHeader& h) {
    const auto length = h.length.count();
    if (h.disk >= kMaxDisks) return bad_frame("disk {} (at most {})", h.disk, kMaxDisks - 1);
    if (length == 0) return bad_frame("an empty chunk");
    if (h.offset.count() > kMaxDisk.count() || length > kMaxDisk.count() - h.offset.count())
        return bad_frame("offset {} + length {} is beyond any disk", h.offset.count(), length);
    if (h.kind == ExtentKind::zero) {
        if (length > kMaxZeroRange.count()) return bad_frame("a zero range of {} bytes", length);
        if (h.payload_length != 0) return bad_frame("a zero range with a payload");
        if (h.codec != Codec::none) return bad_frame("a zero range with a codec");
        if (h.digest != model::Digest{}) return bad_frame("a zero range with a digest");
        return {};
    }
    if (length > model::kMaxChunk.count()) return bad_frame("a chunk of {} bytes", length);
    if (h.codec == Codec::none && h.payload_length != length)
        return bad_frame("payload of {} bytes for {} bytes stored", h.payload_length, length);
    if (h.payload_length == 0 || h.payload_length > length)
        return bad_frame("payload of {} bytes for content of {}", h.payload_length, length);
    return {};
}

Result<> check_control(const FrameHeader& h) {
    if (h.kind != ExtentKind::data || h.codec != Codec::none || h.disk != 0 ||
        h.offset.count() != 0 || h.length.count() != 0)
        return bad_frame("a control frame with a chunk's fields");
    if (h.type != FrameType::flush_request && h.sequence != 0)
        return bad_frame("a control frame with a sequence");
    if (h.payload_length > kMaxControlPayload)
        return bad_frame("control payload of {} bytes", h.payload_length);
    if (h.type == FrameType::ack && h.payload_length != kAckSize)
        return bad_frame("an acknowledgement of {} bytes", h.payload_length);
    const bool bare = h.type == FrameType::flush_request || h.type == FrameType::goodbye;
    if (bare && h.payload_length != 0) return bad_frame("a payload where none belongs");
    return {};
}

Result<> check_payload(const FrameHeader& header, std::span<const std::byte> payload) {
    if (payload.size() != header.payload_length)
        return bad_frame("{} bytes of {} announced", payload.size(), header.payload_length);
    if (payload_check(payload) != header.digest)
        return fail(ErrorKind::corrupt, "a control frame was damaged on the way");
    return {};
}

void append_text(std::vector<std::byte>& bytes, std::string_view text) {
    const auto cut = cut_text(text, kMaxErrorText - sizeof(std::uint16_t));
    const auto at = bytes.size();
    bytes.resize(at + sizeof(std::uint16_t) + cut.size());
    put(std::span(bytes), at, static_cast<std::uint16_t>(cut.size()));
    std::memcpy(bytes.data() + at + sizeof(std::uint16_t), cut.data(), cut.size());
}

Result<std::string_view> take_text(std::span<const std::byte>& from) {
    if (from.size() < sizeof(std::uint16_t)) return bad_frame("an error report that ends early");
    const auto size = get<std::uint16_t>(from, 0);
    from = from.subspan(sizeof(std::uint16_t));
    if (size > from.size()) return bad_frame("an error report that ends early");
    const std::string_view text(reinterpret_cast<const char*>(from.data()), size);
    from = from.subspan(size);
    return text;
}

}  // namespace

HeaderBytes encode_chunk_header(const model::Chunk& chunk) {
    FrameHeader header;
    header.type = FrameType::chunk;
    header.kind = chunk.kind;
    header.codec = chunk.codec;
    header.disk = chunk.disk;
    header.payload_length = static_cast<std::uint32_t>(chunk.payload.size());
    header.sequence = chunk.sequence;
    header.offset = chunk.offset;
    header.length = chunk.length;
    header.digest = chunk.digest;
    return encode(header);
}

HeaderBytes encode_flush_request(std::uint64_t chunks) {
    return control_header(FrameType::flush_request, chunks, {});
}

HeaderBytes encode_goodbye() {
    return control_header(FrameType::goodbye, 0, {});
}

std::array<std::byte, kHeaderSize + kAckSize> encode_ack(const model::Ack& ack) {
    std::array<std::byte, kHeaderSize + kAckSize> bytes{};
    const auto payload = std::span(bytes).subspan(kHeaderSize);
    put(payload, 0, ack.totals.chunks);
    put(payload, 8, ack.totals.bytes);
    put(payload, 16, ack.totals.digest_high);
    put(payload, 24, ack.totals.digest_low);
    put(payload, 32, ack.durable.disk);
    put(payload, 40, ack.durable.offset.count());
    std::ranges::copy(control_header(FrameType::ack, 0, payload), bytes.begin());
    return bytes;
}

std::vector<std::byte> encode_error(const Error& error) {
    std::vector<std::byte> bytes(kHeaderSize);
    append_text(bytes, base::to_string(error.kind()));
    append_text(bytes, error.step_text());
    append_text(bytes, error.kept());
    append_text(bytes, error.advice());
    const auto payload = std::span(bytes).subspan(kHeaderSize);
    std::ranges::copy(control_header(FrameType::error, 0, payload), bytes.begin());
    return bytes;
}

Result<FrameHeader> decode_header(std::span<const std::byte> bytes) {
    if (bytes.size() != kHeaderSize) return bad_frame("a header of {} bytes", bytes.size());
    if (get<std::array<char, 4>>(bytes, kMagicAt) != kMagic)
        return bad_frame("this is not a frame of understudy-frames/1");
    if (get<std::uint64_t>(bytes, kCheckAt) != check_of(bytes.first(kCheckAt)))
        return fail(ErrorKind::corrupt, "a frame's header was damaged on the way");
    const auto type = get<std::uint8_t>(bytes, kTypeAt);
    const auto kind = get<std::uint8_t>(bytes, kKindAt);
    const auto codec = get<std::uint8_t>(bytes, kCodecAt);
    if (type < static_cast<std::uint8_t>(FrameType::chunk) ||
        type > static_cast<std::uint8_t>(FrameType::goodbye))
        return bad_frame("unknown type {}", type);
    if (kind > static_cast<std::uint8_t>(ExtentKind::zero))
        return bad_frame("unknown kind {}", kind);
    if (codec > static_cast<std::uint8_t>(Codec::zstd)) return bad_frame("unknown codec {}", codec);
    if (get<std::uint8_t>(bytes, kReservedAt) != 0) return bad_frame("a reserved byte is set");
    FrameHeader header{.type = static_cast<FrameType>(type),
                       .kind = static_cast<ExtentKind>(kind),
                       .codec = static_cast<Codec>(codec),
                       .disk = get<std::uint32_t>(bytes, kDiskAt),
                       .payload_length = get<std::uint32_t>(bytes, kPayloadLengthAt),
                       .sequence = get<std::uint64_t>(bytes, kSequenceAt),
                       .offset = ByteOffset(get<std::uint64_t>(bytes, kOffsetAt)),
                       .length = ByteSize(get<std::uint64_t>(bytes, kLengthAt)),
                       .digest = get<model::Digest>(bytes, kDigestAt)};
    if (header.sequence > kMaxSequence) return bad_frame("sequence {}", header.sequence);
    UNDERSTUDY_TRY(header.type == FrameType::chunk ? check_chunk(header) : check_control(header));
    return header;
}

model::Chunk chunk_of(const FrameHeader& header, std::span<const std::byte> payload) {
    return {.sequence = header.sequence,
            .disk = header.disk,
            .offset = header.offset,
            .length = header.length,
            .kind = header.kind,
            .codec = header.codec,
            .digest = header.digest,
            .payload = payload};
}

Result<model::Ack> decode_ack(const FrameHeader& header, std::span<const std::byte> payload) {
    UNDERSTUDY_TRY(check_payload(header, payload));
    if (header.type != FrameType::ack || payload.size() != kAckSize)
        return bad_frame("this is not an acknowledgement");
    return model::Ack{.totals = {.chunks = get<std::uint64_t>(payload, 0),
                                 .bytes = get<std::uint64_t>(payload, 8),
                                 .digest_high = get<std::uint64_t>(payload, 16),
                                 .digest_low = get<std::uint64_t>(payload, 24)},
                      .durable = {.disk = get<std::uint32_t>(payload, 32),
                                  .offset = ByteOffset(get<std::uint64_t>(payload, 40))}};
}

Error decode_error(const FrameHeader& header, std::span<const std::byte> payload) {
    if (auto sound = check_payload(header, payload); !sound) return sound.error();
    std::array<std::string_view, 4> parts;
    for (auto& part : parts) {
        auto text = take_text(payload);
        if (!text) return text.error();
        part = *text;
    }
    return reported_error(parts[0], parts[1], parts[2], parts[3]);
}

}  // namespace understudy::protocol
