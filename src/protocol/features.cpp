#include "protocol/features.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace understudy::protocol {

std::vector<std::string> our_features() {
    return {std::string(kFeatureChunks),   std::string(kFeatureLz4),
            std::string(kFeatureZstd),     std::string(kFeatureDefinition),
            std::string(kFeatureHandover), std::string(kFeatureDigests)};
}

bool has_feature(const model::Capabilities& peer, std::string_view feature) {
    return std::ranges::find(peer.features, feature) != peer.features.end();
}

std::vector<model::Codec> usable_codecs(const model::Capabilities& peer) {
    std::vector codecs{model::Codec::none};
    if (has_feature(peer, kFeatureLz4)) codecs.push_back(model::Codec::lz4);
    if (has_feature(peer, kFeatureZstd)) codecs.push_back(model::Codec::zstd);
    return codecs;
}

Result<> check_can_receive(const model::Capabilities& peer) {
    for (const auto feature : std::array{kFeatureChunks, kFeatureDefinition})
        if (!has_feature(peer, feature))
            return fail(Error(ErrorKind::unsupported,
                              fmt::format("the peer (version '{}') does not know '{}'",
                                          peer.version, feature))
                            .advising("Bring both sides to neighbouring versions."));
    return {};
}

Result<> check_can_compare(const model::Capabilities& peer) {
    if (has_feature(peer, kFeatureDigests)) return {};
    return fail(Error(ErrorKind::unsupported,
                      fmt::format("the peer (version '{}') does not know '{}': it cannot compare "
                                  "what it has with what is here",
                                  peer.version, kFeatureDigests))
                    .advising("Bring both sides to neighbouring versions."));
}

}  // namespace understudy::protocol
