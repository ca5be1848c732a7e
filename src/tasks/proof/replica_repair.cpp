#include "mover/digest.hpp"
#include "protocol/limits.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/drilling.hpp"
#include "tasks/proof/kinds.hpp"
#include "tasks/proof/verifying.hpp"
#include "tasks/queue/pass.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/records/proof_records.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

// Fetches what a comparison found wrong from the source, puts it in its place and has it compared
// again. It has the VM's turn, unlike the comparison, because it writes. Every attempt does all of
// it anew: the same bytes in the same places.

namespace understudy::tasks {
namespace {

const ReplicaRepairArguments& arguments_of(Work& work) {
    return work.arguments<ReplicaRepairArguments>();
}

ReplicaRepairMemo& memo_of(Work& work) {
    return work.memo<ReplicaRepairMemo>();
}

ReplicaRepairResult& result_of(Work& work) {
    return work.result<ReplicaRepairResult>();
}

class Mender {
public:
    Mender(Work& work, const VerifyCase& asked, Pass& pass)
        : work_(work), asked_(asked), pass_(pass) {}

    Result<> mend(const model::SnapshotDisk& disk, const std::vector<model::DiskRange>& ranges) {
        auto pool = UNDERSTUDY_VALUE(work_.site().pool(disk.pool));
        auto mending = UNDERSTUDY_VALUE(pool->mend(disk.volume, asked_.snapshot.id));
        for (const auto& range : ranges) {
            const auto end = std::min(range.offset + range.length, ByteOffset(disk.size.count()));
            for (auto at = range.offset; at < end;) {
                const auto length = std::min(end - at, protocol::kMaxRange);
                UNDERSTUDY_TRY(fetch(disk, *mending, at, length));
                at = at + length;
            }
        }
        return mending->publish();
    }
    std::uint64_t wire_bytes() const { return wire_bytes_; }

private:
    Result<> fetch(const model::SnapshotDisk& disk, ports::Incoming& into, ByteOffset at,
                   ByteSize length) {
        auto answer = UNDERSTUDY_VALUE(
            asked_.source->read_range({asked_.vm.id, asked_.snapshot.id, disk.volume, at, length}));
        wire_bytes_ += answer.wire_bytes;
        const auto bytes = std::as_bytes(std::span(answer.bytes));
        UNDERSTUDY_TRY(mover::all_zero(bytes) ? into.zero(at, length) : into.write(at, bytes));
        return pass_.counting(disk.target)(length);
    }

    Work& work_;
    const VerifyCase& asked_;
    Pass& pass_;
    std::uint64_t wire_bytes_ = 0;
};

// An error about one disk does not stop the others.
Result<> mend(Work& work) {
    auto asked = UNDERSTUDY_VALUE(case_of<ReplicaRepairArguments>(work));
    // A drill that begins after this look finds this task and waits for it.
    UNDERSTUDY_TRY(check_no_drill(work.site(), asked.vm.id));
    const auto& ranges = arguments_of(work).ranges;
    std::uint64_t total = 0;
    for (const auto& range : ranges) total += range.length.count();
    Pass pass(work, total);
    Mender mender(work, asked, pass);
    std::optional<Error> failed;
    for (const auto& disk : asked.snapshot.disks) {
        std::vector<model::DiskRange> of_disk;
        for (const auto& range : ranges)
            if (range.target == disk.target) of_disk.push_back(range);
        if (of_disk.empty()) continue;
        auto mended = mender.mend(disk, of_disk);
        if (mended) continue;
        auto error = std::move(mended.error()).during("mend " + disk.target);
        const bool stops_all =
            error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::unavailable;
        if (stops_all) return fail(std::move(error));
        work.log(error.text());
        if (!failed) failed = std::move(error);
    }
    result_of(work).repaired_bytes = pass.done_bytes();
    result_of(work).repair_wire_bytes = mender.wire_bytes();
    if (failed) return fail(std::move(*failed));
    return {};
}

Result<> verify_again(Work& work) {
    auto asked = UNDERSTUDY_VALUE(case_of<ReplicaRepairArguments>(work));
    auto next = UNDERSTUDY_VALUE(
        queue_next(work, memo_of(work).next,
                   new_verification(work.site(), asked.vm, asked.snapshot, arguments_of(work).rest,
                                    arguments_of(work).rate_bytes)));
    result_of(work).next = next;
    return let_go_for_task(work, asked.snapshot.id);
}

}  // namespace

Kind replica_repair() {
    return {.name = kReplicaRepair,
            .records = records_of<ReplicaRepairArguments, ReplicaRepairMemo, ReplicaRepairResult>(),
            .steps = {{.name = "hold", .run = hold_case<ReplicaRepairArguments>},
                      {.name = "mend", .run = mend},
                      {.name = "verify_again", .run = verify_again}},
            .on_failure = release_case<ReplicaRepairArguments>};
}

}  // namespace understudy::tasks
