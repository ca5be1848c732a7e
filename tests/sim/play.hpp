#pragma once

#include "world.hpp"

#include <string>
#include <vector>

namespace understudy::sim {

struct Outcome {
    std::vector<std::string> broken;  // empty: all promises were kept
    std::uint64_t trace_hash = 0;
    std::uint64_t calls = 0;  // of ports
};

// One run: some tens of actions of operators, guests and misfortune, all from the seed, the
// promises checked after each; then everything is mended and must settle.
Outcome play(std::uint64_t seed, Trace::Loud loud = Trace::Loud::silent);

// Nothing goes wrong any more: daemons run, the line stands, there is room. All tasks end.
void settle(World& world);

}  // namespace understudy::sim
