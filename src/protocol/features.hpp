#pragma once

#include "model/cluster.hpp"
#include "model/transfer.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

// What a cluster understands on the wire, by name, in Capabilities.features. A sender uses only
// what the other side has named. If a name is not known here, it is ignored.
namespace understudy::protocol {

inline constexpr std::string_view kFeatureChunks = "chunks-1";  // frames as WIRE.md has them
inline constexpr std::string_view kFeatureLz4 = "codec-lz4";
inline constexpr std::string_view kFeatureZstd = "codec-zstd";
// Digests, ranges and contents as calls, and `resync` in an offer.
inline constexpr std::string_view kFeatureDigests = "digests-1";
inline constexpr std::string_view kFeatureDefinition = "definition-zstd";  // in an offer
inline constexpr std::string_view kFeatureHandover = "handover-1";

std::vector<std::string> our_features();
bool has_feature(const model::Capabilities& peer, std::string_view feature);
// The codecs that may be used for that peer. Codec::none is always one of them.
std::vector<model::Codec> usable_codecs(const model::Capabilities& peer);
// unsupported: no send to that peer can work; the text names the feature that is missing.
Result<> check_can_receive(const model::Capabilities& peer);
// unsupported: that peer cannot compare what it has with what is here.
Result<> check_can_compare(const model::Capabilities& peer);

}  // namespace understudy::protocol
