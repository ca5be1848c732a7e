#pragma once

#include "model/transfer.hpp"

#include <cstddef>
#include <span>

namespace understudy::mover {

// XXH3-128 of a chunk's uncompressed content, canonical form.
model::Digest digest_of(std::span<const std::byte> content);

// Adds one chunk to the totals: its place, length, kind and digest, not its sequence. The sums do
// not depend on the order of adding. WIRE.md has the bytes that are hashed.
void add_chunk(model::Totals& totals, const model::Chunk& chunk);

bool all_zero(std::span<const std::byte> content);

}  // namespace understudy::mover
