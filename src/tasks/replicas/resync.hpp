#pragma once

#include "tasks/replicas/send_parts.hpp"

// How a send finds what to move when the two sides have nothing in common by lineage.
namespace understudy::tasks {

bool is_compared(const model::TransferRequest& request, const VolumeId& volume);

// The part of a listing that lies at or after a place.
Result<std::unique_ptr<ports::ExtentStream>> listed_extents(
    const std::vector<model::Extent>& extents, ByteOffset from);

Result<std::vector<DiskEstimate>> estimate_resync(Site& site, const PlannedSend& planned,
                                                  const ClusterId& peer);

// The most extents that a comparison remembers of one disk. If there are more, near ones become
// one.
inline constexpr std::size_t kMaxComparedExtents = 1 << 18;

// Adds an extent that lies behind the others; once there are too many, those with the smallest gaps
// between them are joined as data, `gap` being the gap that was joined last.
void add_extent(std::vector<model::Extent>& extents, const model::Extent& next, ByteSize& gap,
                std::size_t most = kMaxComparedExtents);

}  // namespace understudy::tasks
