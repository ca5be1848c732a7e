#include "base/shell_word.hpp"
#include "mover/disk_comparison.hpp"
#include "mover/throttle.hpp"
#include "tasks/disks/digests.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/proof/kinds.hpp"
#include "tasks/proof/verifying.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/records/proof_records.hpp"

#include <fmt/format.h>

#include <algorithm>

// `hold` keeps the snapshot, `compare` walks its disks, `conclude` records what was found. How far
// it is, and what it found so far, is in the memo, so that a restart goes on from there.

namespace understudy::tasks {
namespace {

using Kinds = mover::Difference::Kind;

const ReplicaVerifyArguments& arguments_of(Work& work) {
    return work.arguments<ReplicaVerifyArguments>();
}

ReplicaVerifyMemo& memo_of(Work& work) {
    return work.memo<ReplicaVerifyMemo>();
}

ReplicaVerifyResult& result_of(Work& work) {
    return work.result<ReplicaVerifyResult>();
}

constexpr Duration kKeptEvery{20'000};  // how far it is becomes durable
constexpr Duration kNap{200};
constexpr std::size_t kNamed = 5;  // ranges in an error's text

// How far it is becomes durable.
Result<> keep(Work& work, const ComparedSoFar& account) {
    memo_of(work).account = account;
    work.moved_on();
    return work.save_memo();
}

// Keeps the comparison to the operator's rate, and ends it if the task is interrupted.
class Pace {
public:
    Pace(Work& work, std::uint64_t rate_bytes) : work_(work) {
        throttle_.set_rate(rate_bytes, now());
    }
    Result<> operator()(ByteSize read) {
        throttle_.spend(read.count());
        UNDERSTUDY_TRY(work_.checkpoint());
        for (auto wait = throttle_.wait(now()); wait > Duration(0); wait = throttle_.wait(now())) {
            work_.site().clock.sleep(std::min(wait, kNap));
            UNDERSTUDY_TRY(work_.checkpoint());
        }
        return {};
    }

private:
    Duration now() { return work_.site().clock.monotonic(); }

    Work& work_;
    mover::Throttle throttle_;
};

// The failure is of one disk, and the others can still be compared.
bool is_of_one_disk(const Error& error) {
    return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::internal;
}

class DiskWalk {
public:
    DiskWalk(Work& work, const VerifyCase& asked, ComparedSoFar& account)
        : work_(work),
          asked_(asked),
          account_(account),
          kept_at_(work.site().clock.monotonic()),
          pace_(work, arguments_of(work).rate_bytes) {
        for (const auto& disk : asked.snapshot.disks) total_ += disk.size.count();
    }

    Result<> walk() {
        const auto& disks = asked_.snapshot.disks;
        for (std::uint64_t i = 0; i < account_.disk && i < disks.size(); ++i)
            before_ += disks[i].size.count();
        for (; account_.disk < disks.size(); account_.offset = {}, ++account_.disk) {
            const auto& disk = disks[account_.disk];
            auto compared = compare(disk);
            if (!compared && !is_of_one_disk(compared.error()))
                return fail(std::move(compared.error()).during(disk.target));
            if (!compared)
                add_difference({disk.target, account_.offset,
                                ByteOffset(disk.size.count()) - account_.offset,
                                compared.error().text()});
            before_ += disk.size.count();
        }
        return keep(work_, account_);
    }

private:
    Result<> compare(const model::SnapshotDisk& disk) {
        auto pool = UNDERSTUDY_VALUE(work_.site().pool(disk.pool));
        auto here = UNDERSTUDY_VALUE(open_digests(*pool, disk.volume, asked_.snapshot.id,
                                                  [this](ByteSize read) { return pace_(read); }));
        const auto ask = [&](ByteSize block, const std::vector<model::ByteRange>& ranges) {
            auto answer = asked_.source->digests(
                {asked_.vm.id, asked_.snapshot.id, disk.volume, block, ranges});
            if (answer) account_.wire_bytes += answer->wire_bytes;
            return answer;
        };
        mover::DiskComparison comparison(*here, ask, disk.size, account_.offset);
        while (true) {
            auto next = comparison.next();
            show_progress(disk, comparison.looked_at());
            if (!next) return error_of(next);
            if (!*next) return {};
            add_difference(range_of(disk, **next, here->failure(), comparison.failure_there()));
            account_.offset = (*next)->range.end();
            const auto now = work_.site().clock.monotonic();
            if (now - kept_at_ < kKeptEvery) continue;
            kept_at_ = now;
            UNDERSTUDY_TRY(keep(work_, account_));
        }
    }

    model::DiskRange range_of(const model::SnapshotDisk& disk, const mover::Difference& found,
                              const std::string& failure_here,
                              const std::string& failure_there) const {
        model::DiskRange range{disk.target, found.range.offset, found.range.length, {}};
        if (found.kind == Kinds::unreadable_here)
            range.why = "cannot be read here: " + failure_here;
        if (found.kind == Kinds::unreadable_there)
            range.why =
                fmt::format("cannot be read on '{}': {}", asked_.source_name, failure_there);
        return range;
    }

    void add_difference(model::DiskRange range) {
        ++account_.found;
        account_.differing += range.length.count();
        work_.log(fmt::format("{}: {} bytes at {} {}", range.target, range.length.count(),
                              range.offset.count(), range.why.empty() ? "differ" : range.why));
        if (account_.ranges.size() < kMaxRepairedRanges)
            account_.ranges.push_back(std::move(range));
    }

    void show_progress(const model::SnapshotDisk& disk, ByteOffset at) {
        model::Progress progress;
        progress.done_bytes = before_ + std::min(at.count(), disk.size.count());
        progress.total_bytes = total_;
        progress.wire_bytes = account_.wire_bytes;
        progress.note = disk.target;
        work_.progress(progress);
    }

    Work& work_;
    const VerifyCase& asked_;
    ComparedSoFar& account_;
    Duration kept_at_;
    Pace pace_;
    std::uint64_t total_ = 0;
    std::uint64_t before_ = 0;
};

Result<> compare(Work& work) {
    auto asked = UNDERSTUDY_VALUE(case_of<ReplicaVerifyArguments>(work));
    auto account = memo_of(work).account;
    auto walked = DiskWalk(work, asked, account).walk();
    if (walked) return {};
    if (walked.error().kind() == ErrorKind::not_found)
        return fail(std::move(walked.error())
                        .during(fmt::format("compare with '{}'", asked.source_name))
                        .keeping("the replica as it is")
                        .advising("A snapshot that was removed there cannot be compared any more; "
                                  "send and verify a newer one."));
    return walked;
}

std::string named_ranges(const std::vector<model::DiskRange>& ranges, std::uint64_t found) {
    std::string text;
    for (std::size_t i = 0; i < std::min(ranges.size(), kNamed); ++i) {
        const auto& range = ranges[i];
        text += fmt::format("{}{} at {}+{}", i == 0 ? "" : ", ", range.target, range.offset.count(),
                            range.length.count());
        if (!range.why.empty()) text += fmt::format(" ({})", range.why);
    }
    if (found > kNamed) text += fmt::format(" and {} more", found - kNamed);
    return text;
}

// All ranges but those that cannot be read at the source: for these there is nothing to repair
// with.
std::vector<model::DiskRange> repairable(const std::vector<model::DiskRange>& ranges,
                                         const std::string& source) {
    std::vector<model::DiskRange> list;
    const auto there = fmt::format("cannot be read on '{}'", source);
    for (const auto& range : ranges)
        if (!range.why.starts_with(there)) list.push_back(range);
    return list;
}

Result<> conclude(Work& work) {
    auto& site = work.site();
    auto asked = UNDERSTUDY_VALUE(case_of<ReplicaVerifyArguments>(work));
    const auto account = memo_of(work).account;
    model::Verification done;
    done.vm = asked.vm.id;
    done.snapshot = asked.snapshot.id;
    done.source = asked.vm.ownership.owner;
    done.ended = site.clock.now();
    done.equal = account.found == 0;
    for (const auto& disk : asked.snapshot.disks) done.compared += disk.size;
    done.differing = ByteSize(account.differing);
    done.ranges_found = account.found;
    done.ranges = account.ranges;
    if (done.ranges.size() > model::kMaxListedRanges) done.ranges.resize(model::kMaxListedRanges);
    UNDERSTUDY_TRY(site.catalog.save_verification(done));
    result_of(work).verification = done;
    result_of(work).source_name = asked.source_name;
    result_of(work).verify_wire_bytes = account.wire_bytes;
    const auto wrong = repairable(account.ranges, asked.source_name);
    if (!done.equal && arguments_of(work).repair && !wrong.empty()) {
        auto next = UNDERSTUDY_VALUE(queue_next(
            work, memo_of(work).next,
            new_task(site, kReplicaRepair, asked.vm.id,
                     fmt::format("repair {}@{}", asked.vm.name, asked.snapshot.name),
                     ReplicaRepairArguments{.vm = asked.vm.id,
                                            .snapshot = asked.snapshot.id,
                                            .ranges = wrong,
                                            .rest = account.found > account.ranges.size(),
                                            .rate_bytes = arguments_of(work).rate_bytes})));
        result_of(work).next = next;
        return let_go_for_task(work, asked.snapshot.id);
    }
    UNDERSTUDY_TRY(let_go_for_task(work, asked.snapshot.id));
    if (done.equal) return {};
    return fail(Error(ErrorKind::corrupt,
                      fmt::format("it is not as on '{}' in {} range(s), {}: {}", asked.source_name,
                                  account.found, base::format_size(done.differing),
                                  named_ranges(account.ranges, account.found)))
                    .keeping("the replica as it is")
                    .advising(fmt::format(
                        "`understudy replica verify {} --repair` repairs what can be repaired.",
                        base::shell_word(asked.vm.name))));
}

}  // namespace

Kind replica_verify() {
    return {.name = kReplicaVerify,
            .records = records_of<ReplicaVerifyArguments, ReplicaVerifyMemo, ReplicaVerifyResult>(),
            .steps = {{.name = "hold", .run = hold_case<ReplicaVerifyArguments>},
                      {.name = "compare", .run = compare},
                      {.name = "conclude", .run = conclude}},
            .on_failure = release_case<ReplicaVerifyArguments>};
}

}  // namespace understudy::tasks
