#pragma once

#include "tasks/disks/volumes.hpp"
#include "tasks/proof/proving.hpp"
#include "tasks/queue/work.hpp"

#include <optional>

// Proving that a replica here is what its source has: shared by the tasks that compare and repair,
// and by who asks for them.
namespace understudy::tasks {

// A task that compares one snapshot of a replica with its source, not added yet. `rate_bytes`: of
// disk read per second on each side; 0: as fast as it goes.
model::Task new_verification(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                             bool repair, std::uint64_t rate_bytes);

// A replica here, whose owner is a peer that can compare. If something is in the way, the error of
// verify_case names it.
struct VerifyCase {
    model::Vm vm;
    model::Snapshot snapshot;
    std::shared_ptr<ports::PeerLink> source;
    std::string source_name;
};
Result<VerifyCase> verify_case(Site& site, const VmId& vm, const SnapshotId& snapshot);

// What the kinds that compare and that repair have in common: they are asked about a snapshot of a
// VM, and hold the snapshot until they end.
template <class Arguments>
Result<VerifyCase> case_of(Work& work) {
    const auto& asked = work.arguments<Arguments>();
    return verify_case(work.site(), asked.vm, asked.snapshot);
}

template <class Arguments>
Result<> hold_case(Work& work) {
    const auto asked = UNDERSTUDY_VALUE(case_of<Arguments>(work));
    return hold_for_task(work, asked.snapshot.id);
}

// After a failure. The next attempt begins from the beginning, because the VM or the snapshot may
// have changed.
template <class Arguments>
Result<> release_case(Work& work) {
    UNDERSTUDY_TRY(let_go_for_task(work, work.arguments<Arguments>().snapshot));
    work.begin_again();
    return {};
}

// Queues the verification that has waited longest, when its last one is older than `every` and none
// is queued or running: one at a time.
Result<> queue_due_verification(Site& site, Duration every);

// Adds the task that follows this one. Its id is saved in the memo first (`named` is the kind's
// field for it): run again after a crash, this adds no second one.
Result<TaskId> queue_next(Work& work, std::optional<TaskId>& named, model::Task next);

// The most ranges that one repair task gets. Further ranges wait for the next round.
inline constexpr std::size_t kMaxRepairedRanges = 1024;

}  // namespace understudy::tasks
