#pragma once

#include "storage/qcow2/image/layer.hpp"
#include "storage/qcow2/image/table_cache.hpp"

#include <vector>

namespace understudy::qcow2 {

// An open chain, shared by a LayerChain and the extent streams that came from it. Thread-safe.
struct ChainState {
    // 16 MiB of pieces of L2 tables: enough for 128 GiB of scattered reads at 64 KiB clusters.
    static constexpr ByteSize kCacheBudget = base::MiB(16);

    ChainState() : cache(kCacheBudget) {}

    std::vector<Layer> layers;  // top first
    bool layers_below = false;  // there are more, which were not opened
    mutable TableCache cache;
};

}  // namespace understudy::qcow2
