#include "hypervisor/libvirt/merge.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

// Merges one layer of a running VM into one below it, as a block commit of libvirt. merge_layers()
// looks at the chain first: without `top` in it the merge has happened. Otherwise it takes over a
// job of this kind that an earlier process left, or begins one, and waits; for the VM's own head it
// then pivots to the base. A cancel aborts the job, and the chain stays. After a crash QEMU goes on
// with the job; the next call takes it over. Waits without a limit for the copying, at most 60 s
// for a pivot or an abort.

namespace understudy::libvirt {
namespace {

constexpr std::chrono::milliseconds kPoll{20};
// Once the job has caught up with the guest's writes, libvirt needs a moment to pivot, not minutes.
constexpr std::chrono::seconds kPivotLimit{60};
constexpr std::uintmax_t kNearlyFull =
    16u << 20;  // bytes; with less free, a failed commit ran out of room

// What the disk looks like at one moment of the merge.
struct View {
    std::vector<std::string> chain;
    std::optional<Mirror> mirror;
    int job = VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN;  // unknown: none
};

struct Merging {
    virDomainPtr domain;
    const std::string& target;
    const ports::LiveMerge& merge;
    const std::function<bool()>& cancelled;

    int kind() const {
        return merge.top_is_head ? VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT
                                 : VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT;
    }
};

Result<View> look(const Merging& work) {
    auto active = UNDERSTUDY_VALUE(is_active(work.domain));
    if (!active)
        return fail(ErrorKind::conflict,
                    label(work.domain) + " stopped; its layers are now merged without it");
    View view;
    virDomainBlockJobInfo info{};
    const int found = virDomainGetBlockJobInfo(work.domain, work.target.c_str(), &info, 0);
    if (found < 0) return fail(domain_error(work.domain, "look at the block job of"));
    if (found == 1) view.job = info.type;
    // Read after the job: a chain that was read first could be older than a job that has just
    // ended.
    auto live = UNDERSTUDY_VALUE(domain_xml(work.domain, 0));
    auto chain = UNDERSTUDY_VALUE(chain_of(live, work.target));
    auto mirror = UNDERSTUDY_VALUE(mirror_of(live, work.target));
    view.chain = std::move(chain);
    view.mirror = std::move(mirror);
    return view;
}

bool contains(const View& view, const std::string& file) {
    return std::find(view.chain.begin(), view.chain.end(), file) != view.chain.end();
}

// Ends the job, so that the chain stays as it is, and waits for its end.
Result<> abort(const Merging& work) {
    if (virDomainBlockJobAbort(work.domain, work.target.c_str(), 0) < 0) {
        // The job may have ended by itself in between; the next look shows that.
        virResetLastError();
    }
    const auto until = std::chrono::steady_clock::now() + kPivotLimit;
    while (std::chrono::steady_clock::now() < until) {
        auto view = UNDERSTUDY_VALUE(look(work));
        if (view.job == VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN && !view.mirror) return {};
        std::this_thread::sleep_for(kPoll);
    }
    return fail(ErrorKind::unavailable, "the block job does not end");
}

Result<> begin(const Merging& work) {
    const unsigned flags = work.merge.top_is_head ? unsigned{VIR_DOMAIN_BLOCK_COMMIT_ACTIVE} : 0u;
    if (virDomainBlockCommit(work.domain, work.target.c_str(), work.merge.base.c_str(),
                             work.merge.top.c_str(), 0, flags) < 0)
        return fail(domain_error(work.domain, "begin a block commit of"));
    return {};
}

Error failed(const Merging& work) {
    std::error_code error;
    const auto parent = std::filesystem::path(work.merge.base).parent_path();
    const auto space = std::filesystem::space(parent, error);
    if (!error && space.available < kNearlyFull)
        return Error(ErrorKind::no_space, fmt::format("no space left at {}", parent.string()));
    return Error(ErrorKind::unavailable, "QEMU ended the block commit without finishing it")
        .advising("The reason is in the VM's QEMU log (/var/log/libvirt/qemu).");
}

Result<> pivot(const Merging& work) {
    if (virDomainBlockJobAbort(work.domain, work.target.c_str(), VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) <
        0)
        return fail(domain_error(work.domain, "pivot to the layer below of"));
    const auto until = std::chrono::steady_clock::now() + kPivotLimit;
    while (std::chrono::steady_clock::now() < until) {
        auto view = UNDERSTUDY_VALUE(look(work));
        if (view.job == VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN && !view.mirror)
            return contains(view, work.merge.top) ? Result<>(fail(failed(work))) : Result<>();
        std::this_thread::sleep_for(kPoll);
    }
    return fail(ErrorKind::unavailable, "QEMU does not finish pivoting to the layer below");
}

// Waits for a running job. True: merged. False: the job has gone, and the chain is as before.
Result<bool> finish(const Merging& work) {
    while (true) {
        auto view = UNDERSTUDY_VALUE(look(work));
        if (!contains(view, work.merge.top)) return true;
        const bool gone = view.job == VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN && !view.mirror;
        if (gone) return false;
        if (work.cancelled && work.cancelled()) {
            UNDERSTUDY_TRY(abort(work));
            return fail(ErrorKind::cancelled, "the merge was cancelled");
        }
        if (work.merge.top_is_head && view.mirror && view.mirror->ready) {
            UNDERSTUDY_TRY(pivot(work));
            return true;
        }
        std::this_thread::sleep_for(kPoll);
    }
}

Result<> check(const Merging& work, const View& view) {
    const auto& [base, top, top_is_head] = work.merge;
    const auto at_top = std::find(view.chain.begin(), view.chain.end(), top);
    const auto at_base = std::find(at_top, view.chain.end(), base);
    if (at_base == view.chain.end() || (at_top == view.chain.begin()) != top_is_head)
        return fail(ErrorKind::conflict,
                    fmt::format("disk {} of {} is not on the layers {} over {}", work.target,
                                label(work.domain), top, base));
    if (view.job != VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN && view.job != work.kind())
        return fail(
            Error(ErrorKind::conflict, fmt::format("another block job is running on disk {} of {}",
                                                   work.target, label(work.domain)))
                .advising("See `virsh blockjob`."));
    if (view.mirror && (view.mirror->job != "active-commit" || view.mirror->file != base))
        return fail(
            Error(ErrorKind::conflict,
                  fmt::format("another block job ({} to {}) is on disk {} of {}", view.mirror->job,
                              view.mirror->file, work.target, label(work.domain)))
                .advising("See `virsh blockjob`."));
    return {};
}

}  // namespace

Result<> merge_layers(virDomainPtr domain, const std::string& target, const ports::LiveMerge& merge,
                      const std::function<bool()>& cancelled) {
    const Merging work{domain, target, merge, cancelled};
    auto live = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    if (auto known = chain_of(live, target); !known) return error_of(known);
    auto view = UNDERSTUDY_VALUE(look(work));
    if (!contains(view, merge.top) && contains(view, merge.base)) return {};
    UNDERSTUDY_TRY(check(work, view));
    if (cancelled && cancelled()) return fail(ErrorKind::cancelled, "the merge was cancelled");
    if (view.job != VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN || view.mirror) {
        // An earlier process left this job, most likely for this very merge.
        auto merged = UNDERSTUDY_VALUE(finish(work));
        if (merged) return {};
    }
    UNDERSTUDY_TRY(begin(work));
    auto merged = UNDERSTUDY_VALUE(finish(work));
    if (!merged) return fail(failed(work));
    return {};
}

}  // namespace understudy::libvirt
