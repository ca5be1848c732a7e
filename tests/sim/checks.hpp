#pragma once

#include "world.hpp"

namespace understudy::sim {

// What must be true at every moment, whatever is under way: each listed snapshot is whole and holds
// what the guest's disks held at its moment (promises 1 and 2), every guest reads what it wrote
// (6), and what a peer builds on is there (4). Findings go to World::broken.
void check_promises(World& world);

// What must be true once nothing is wrong any more and all tasks have ended (5, and 3 over all
// clusters): nothing half-done, nothing left over, one owner at most.
void check_settled(World& world);

// With the news exchanged: a VM that another cluster owns does not run.
void check_superseded_stand_still(World& world);

}  // namespace understudy::sim
