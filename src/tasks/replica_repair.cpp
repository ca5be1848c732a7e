#include "mover/digest.hpp"
#include "protocol/limits.hpp"
#include "tasks/arguments.hpp"
#include "tasks/drilling.hpp"
#include "tasks/kinds.hpp"
#include "tasks/pass.hpp"
#include "tasks/runner.hpp"
#include "tasks/verifying.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

// Fetches what a comparison found wrong from the source, puts it in its place and has it compared
// again. It has the VM's turn, unlike the comparison, because it writes. Every attempt does all of
// it anew: the same bytes in the same places.

namespace understudy::tasks {
namespace {

std::vector<model::DiskRange> ranges_in(Work& work) {
    return work.arguments().value("ranges", std::vector<model::DiskRange>{});
}

Result<> hold(Work& work) {
    auto asked = verify_case(work);
    if (!asked) return std::unexpected(std::move(asked.error()));
    return hold_for_task(work, asked->snapshot.id);
}

class Mender {
public:
    Mender(Work& work, const VerifyCase& asked, Pass& pass)
        : work_(work), asked_(asked), pass_(pass) {}

    Result<> mend(const model::SnapshotDisk& disk, const std::vector<model::DiskRange>& ranges) {
        auto pool = work_.site().pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto mending = (*pool)->mend(disk.volume, asked_.snapshot.id);
        if (!mending) return std::unexpected(std::move(mending.error()));
        for (const auto& range : ranges) {
            const auto end = std::min(range.offset + range.length, ByteOffset(disk.size.count()));
            for (auto at = range.offset; at < end;) {
                const auto length = std::min(end - at, protocol::kMaxRange);
                UNDERSTUDY_TRY(fetch(disk, **mending, at, length));
                at = at + length;
            }
        }
        return (*mending)->publish();
    }
    std::uint64_t wire_bytes() const { return wire_bytes_; }

private:
    Result<> fetch(const model::SnapshotDisk& disk, ports::Incoming& into, ByteOffset at,
                   ByteSize length) {
        auto answer =
            asked_.source->read_range({asked_.vm.id, asked_.snapshot.id, disk.volume, at, length});
        if (!answer) return std::unexpected(std::move(answer.error()));
        wire_bytes_ += answer->wire_bytes;
        const auto bytes = std::as_bytes(std::span(answer->bytes));
        UNDERSTUDY_TRY(mover::all_zero(bytes) ? into.zero(at, length) : into.write(at, bytes));
        return pass_.counting(disk.target)(length);
    }

    Work& work_;
    const VerifyCase& asked_;
    Pass& pass_;
    std::uint64_t wire_bytes_ = 0;
};

// What stops one disk does not stop the others.
Result<> mend(Work& work) {
    auto asked = verify_case(work);
    if (!asked) return std::unexpected(std::move(asked.error()));
    // One that begins from now on sees this task first.
    UNDERSTUDY_TRY(check_no_drill(work.site(), asked->vm.id));
    const auto ranges = ranges_in(work);
    std::uint64_t total = 0;
    for (const auto& range : ranges) total += range.length.count();
    Pass pass(work, total);
    Mender mender(work, *asked, pass);
    std::optional<Error> failed;
    for (const auto& disk : asked->snapshot.disks) {
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
    work.result()["repaired_bytes"] = pass.done_bytes();
    work.result()["repair_wire_bytes"] = mender.wire_bytes();
    if (failed) return fail(std::move(*failed));
    return {};
}

Result<> verify_again(Work& work) {
    auto asked = verify_case(work);
    if (!asked) return std::unexpected(std::move(asked.error()));
    auto next = queue_next(work, new_verification(work.site(), asked->vm, asked->snapshot,
                                                  flag_in(work.arguments(), "rest"),
                                                  number_in(work.arguments(), "rate_bytes")));
    if (!next) return std::unexpected(std::move(next.error()));
    work.result()["next"] = next->text();
    return let_go_for_task(work, asked->snapshot.id);
}

Result<> let_go(Work& work) {
    UNDERSTUDY_TRY(let_go_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot")));
    work.begin_again();
    return {};
}

}  // namespace

Kind replica_repair() {
    return Kind{kReplicaRepair,
                {{"hold", hold}, {"mend", mend}, {"verify_again", verify_again}},
                let_go,
                true};
}

}  // namespace understudy::tasks
