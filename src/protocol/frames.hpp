#pragma once

#include "model/transfer.hpp"
#include "protocol/limits.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// The binary frames of a channel, as WIRE.md specifies them: a header of fixed size, then its
// payload. Nothing here does I/O. A caller reads kHeaderSize bytes, decodes them, and then reads
// payload_length bytes; decode_header has checked that this is not too much.
namespace understudy::protocol {

enum class FrameType : std::uint8_t {
    chunk = 1,          // source → target
    flush_request = 2,  // source → target: make chunks 0 … sequence-1 durable and acknowledge
    ack = 3,            // target → source
    error = 4,          // either way, the last frame of its sender
    goodbye = 5,        // either way: the end of this channel, nothing is wrong
};

struct FrameHeader {
    FrameType type = FrameType::goodbye;
    model::ExtentKind kind = model::ExtentKind::data;
    model::Codec codec = model::Codec::none;
    std::uint32_t disk = 0;
    std::uint32_t payload_length = 0;
    std::uint64_t sequence = 0;
    ByteOffset offset;
    ByteSize length;
    model::Digest digest{};
    bool operator==(const FrameHeader&) const = default;
};

inline constexpr std::size_t kHeaderSize = 64;
inline constexpr std::size_t kAckSize = 48;  // payload of an ack
using HeaderBytes = std::array<std::byte, kHeaderSize>;

// The chunk must be within the limits of WIRE.md; the payload follows the header on the wire.
HeaderBytes encode_chunk_header(const model::Chunk& chunk);
HeaderBytes encode_flush_request(std::uint64_t chunks);  // how many must be made durable
HeaderBytes encode_goodbye();
std::array<std::byte, kHeaderSize + kAckSize> encode_ack(const model::Ack& ack);
std::vector<std::byte> encode_error(const Error& error);  // long texts are cut, never refused

// Takes exactly kHeaderSize bytes. Checks the header's own checksum and every limit that can be
// checked without knowing the transfer. corrupt: the checksum is wrong. invalid: the text says what
// else is wrong.
Result<FrameHeader> decode_header(std::span<const std::byte> bytes);

// The chunk that a decoded chunk header and its payload make up; borrows the payload.
model::Chunk chunk_of(const FrameHeader& header, std::span<const std::byte> payload);
Result<model::Ack> decode_ack(const FrameHeader& header, std::span<const std::byte> payload);
// The error that the other side reported. If the report is malformed, an error that says so.
Error decode_error(const FrameHeader& header, std::span<const std::byte> payload);

}  // namespace understudy::protocol
