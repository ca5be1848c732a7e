#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <span>

namespace understudy::qcow2 {

// Decompresses one cluster: exactly fills `into`. `packed` may have bytes of the next cluster at
// its end, as the format counts compressed lengths in sectors. corrupt: it does not decompress.
Result<> inflate_cluster(std::span<const std::byte> packed, std::span<std::byte> into);
Result<> unzstd_cluster(std::span<const std::byte> packed, std::span<std::byte> into);

}  // namespace understudy::qcow2
