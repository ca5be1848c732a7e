#pragma once

#include "base/units.hpp"

#include <cstddef>
#include <cstdint>

// The limits of the wire. A value beyond its limit is refused before anything is allocated for it.
// Raising a limit needs a new feature name, because the other side may have the old limit. Six
// limits are elsewhere: kMaxEpoch (json_fields.cpp), model::kMaxChunk (model/transfer.hpp),
// net::kMaxHttpHeader (net/http.hpp), mover::Receiver::kAhead (mover/receiver.hpp: how far a
// sequence may be ahead of the first missing one), the HTTP client's default of 64 MiB for the body
// of a peer's answer (net/http_client.hpp), and the number of connections (max_connections in
// net/http_server.hpp). WIRE.md has a table of all.
namespace understudy::protocol {

inline constexpr std::size_t kMaxName = 255;  // bytes of a VM's, snapshot's, pool's … name
inline constexpr std::size_t kMaxDisks = 256;
inline constexpr std::size_t kMaxHolders = 64;  // clusters that have snapshots of one VM
inline constexpr ByteSize kMaxDisk{std::uint64_t{1} << 50};
inline constexpr ByteSize kMaxZeroRange{std::uint64_t{1} << 40};
inline constexpr std::uint64_t kMaxSequence = std::uint64_t{1} << 62;

inline constexpr std::size_t kMaxErrorText = 4096;         // each part of an error
inline constexpr std::size_t kMaxControlPayload = 16'384;  // of any frame but a chunk
inline constexpr std::size_t kMaxBody = 1 << 20;           // of a request
inline constexpr std::size_t kMaxOfferBody = 24 << 20;     // of POST /peer/v1/transfers
inline constexpr std::size_t kMaxJsonValues = 200'000;     // in one body
inline constexpr int kMaxJsonDepth = 16;
inline constexpr std::size_t kMaxListed = 20'000;  // entries of one list in a body

inline constexpr std::size_t kMaxDigestRanges = 1024;  // in one question
inline constexpr std::size_t kMaxDigests = 8192;       // in one answer
inline constexpr ByteSize kMaxRange = base::MiB(1);    // read in one call

inline constexpr std::size_t kMaxDomainXml = 4 << 20;
inline constexpr std::size_t kMaxNvram = 64 << 20;
inline constexpr std::size_t kMaxPackedPart = 8 << 20;  // either of them, compressed
inline constexpr std::size_t kMaxCertificatePem = 16'384;
inline constexpr std::size_t kMaxSecret = 256;

}  // namespace understudy::protocol
