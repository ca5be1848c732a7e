#include "tasks/replicas/resync.hpp"

#include "mover/disk_comparison.hpp"
#include "tasks/disks/digests.hpp"

#include <fmt/format.h>

#include <algorithm>

// Finds what a send has to move when the two sides have no snapshot in common. Each disk is
// compared with what the peer has of it; what differs becomes a list of extents, and near ones are
// joined when the list grows too long. The list is only in memory: an attempt after a crash
// compares again, from the durable point on. Nothing is changed on either side.

namespace understudy::tasks {
namespace {

using Kind = mover::Difference::Kind;

class ListedExtents final : public ports::ExtentStream {
public:
    ListedExtents(std::vector<model::Extent> extents, ByteOffset from)
        : extents_(std::move(extents)), from_(from) {}

    Result<std::optional<ports::Extent>> next() override {
        while (next_ < extents_.size() && extents_[next_].end() <= from_) ++next_;
        if (next_ == extents_.size()) return std::nullopt;
        auto extent = extents_[next_++];
        if (extent.offset >= from_) return extent;
        extent.length = extent.end() - from_;
        extent.offset = from_;
        return extent;
    }

private:
    const std::vector<model::Extent> extents_;
    const ByteOffset from_;
    std::size_t next_ = 0;
};

std::optional<SnapshotId> compared_with(const model::TransferRequest& request,
                                        const VolumeId& volume) {
    for (const auto& base : request.resync)
        if (base.volume == volume) return base.snapshot;
    return std::nullopt;
}

// A range that the peer cannot read is sent anew. For a range that cannot be read here, the send
// will fail and say so.
model::Extent extent_of(const mover::Difference& found) {
    const bool zero = found.kind == Kind::differs_zero_here;
    return {found.range.offset, found.range.length,
            zero ? model::ExtentKind::zero : model::ExtentKind::data};
}

Result<std::vector<model::Extent>> compare_disk(Site& site, ports::PeerLink& link, const VmId& vm,
                                                const model::SnapshotDisk& disk,
                                                const SnapshotId& here, const SnapshotId& there,
                                                ByteOffset from,
                                                const std::function<Result<>(ByteSize)>& pace) {
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    auto digests = UNDERSTUDY_VALUE(open_digests(*pool, disk.volume, here, pace));
    mover::DiskComparison comparison(
        *digests,
        [&](ByteSize block, const std::vector<model::ByteRange>& ranges) {
            return link.digests({vm, there, disk.volume, block, ranges});
        },
        disk.size, from);
    std::vector<model::Extent> extents;
    ByteSize gap;
    while (true) {
        auto next = UNDERSTUDY_VALUE(comparison.next());
        if (!next) return extents;
        add_extent(extents, extent_of(*next), gap);
    }
}

void join_near_ones(std::vector<model::Extent>& extents, ByteSize gap) {
    std::vector<model::Extent> joined;
    for (const auto& extent : extents) {
        if (joined.empty() || extent.offset - joined.back().end() > gap) {
            joined.push_back(extent);
            continue;
        }
        joined.back().length = extent.end() - joined.back().offset;
        joined.back().kind = model::ExtentKind::data;
    }
    extents = std::move(joined);
}

}  // namespace

ByteSize Resynced::data() const {
    ByteSize sum;
    for (const auto& disk : disks)
        for (const auto& extent : disk)
            if (extent.kind == model::ExtentKind::data) sum += extent.length;
    return sum;
}

bool is_compared(const model::TransferRequest& request, const VolumeId& volume) {
    return compared_with(request, volume).has_value();
}

Result<std::unique_ptr<ports::ExtentStream>> listed_extents(
    const std::vector<model::Extent>& extents, ByteOffset from) {
    return std::make_unique<ListedExtents>(extents, from);
}

void add_extent(std::vector<model::Extent>& extents, const model::Extent& next, ByteSize& gap,
                std::size_t most) {
    extents.push_back(next);
    if (extents.size() <= most) return;
    while (extents.size() > most / 2) {
        gap = gap.count() == 0 ? model::kGrain : ByteSize(gap.count() * 2);
        join_near_ones(extents, gap);
    }
}

Result<Resynced> compare_disks(Site& site, ports::PeerLink& link,
                               const model::TransferRequest& request,
                               const model::DurablePoint& from,
                               const std::function<Result<>(ByteSize)>& pace) {
    Resynced resynced;
    const auto& disks = request.snapshot.disks;
    resynced.disks.resize(disks.size());
    for (std::size_t i = from.disk; i < disks.size(); ++i) {
        const auto there = compared_with(request, disks[i].volume);
        if (!there) continue;
        auto extents = compare_disk(site, link, request.vm, disks[i], request.snapshot.id, *there,
                                    i == from.disk ? from.offset : ByteOffset(0), pace);
        if (!extents)
            return fail(std::move(extents.error())
                            .during("compare " + disks[i].target + " with the peer's"));
        resynced.disks[i] = std::move(*extents);
    }
    return resynced;
}

Result<std::vector<DiskEstimate>> estimate_resync(Site& site, const PlannedSend& planned,
                                                  const ClusterId& peer) {
    auto link = UNDERSTUDY_VALUE(site.peers.to(peer));
    model::TransferRequest request;
    request.vm = planned.snapshot.vm;
    request.snapshot = planned.snapshot;
    request.resync = planned.plan.resync;
    auto resynced = UNDERSTUDY_VALUE(compare_disks(site, *link, request, {}, {}));
    std::vector<DiskEstimate> estimates;
    for (std::size_t i = 0; i < planned.snapshot.disks.size(); ++i) {
        const auto& disk = planned.snapshot.disks[i];
        DiskEstimate estimate{disk.target, disk.size, {}, {}};
        if (!is_compared(request, disk.volume)) {
            auto whole = UNDERSTUDY_VALUE(allocated_data(site, disk, planned.snapshot.id, {}));
            estimate.data = whole;
        }
        for (const auto& extent : resynced.disks[i])
            (extent.kind == model::ExtentKind::data ? estimate.data : estimate.zero) +=
                extent.length;
        estimates.push_back(std::move(estimate));
    }
    return estimates;
}

}  // namespace understudy::tasks
