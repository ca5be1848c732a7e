#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "protocol/features.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/owners/branch.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/recovery/kinds.hpp"
#include "tasks/replicas/kinds.hpp"
#include "tasks/snapshots/kinds.hpp"

#include <fmt/format.h>

#include <algorithm>

// A VM moves with nothing lost. While it runs, snapshots of it are sent until the rest is small; it
// is shut down, the last snapshot follows, and `give_away` records that the target decides from
// now on. Before that record whatever fails leaves the VM here, started again; after it this side
// asks until the target has answered, and never starts the VM unless the target declined.

namespace understudy::tasks {
namespace {

using model::Phase;

const MoveArguments& arguments_of(Work& work) {
    return work.arguments<MoveArguments>();
}

MoveMemo& memo_of(Work& work) {
    return work.memo<MoveMemo>();
}

MoveResult& result_of(Work& work) {
    return work.result<MoveResult>();
}

constexpr unsigned kMostRounds = 4;     // of presending
constexpr Duration kShortRound{5'000};  // after a round this short the rest is small
constexpr Duration kLookEvery{100};
constexpr Duration kRestartPatience{30'000};  // for a guest that still shuts down
constexpr std::uint64_t kShutdownLimit = 120'000;

VmId vm_id(Work& work) {
    return arguments_of(work).vm;
}

ClusterId peer_id(Work& work) {
    return arguments_of(work).peer;
}

std::string peer_name(Work& work) {
    return cluster_name(work.site(), peer_id(work));
}

bool is_past_record(Work& work) {
    return memo_of(work).next.has_value();
}

// Whether the target is to start the VM. A VM that was off stays off.
bool is_to_start(Work& work) {
    return arguments_of(work).start && memo_of(work).was_running.value_or(false);
}

// A target where the VM is superseded could not take it.
Result<> check_resolved_there(Work& work) {
    auto link = UNDERSTUDY_VALUE(work.site().peers.to(peer_id(work)));
    auto there = UNDERSTUDY_VALUE(link->look_up(vm_id(work)));
    if (!there.known || there.ownership.phase != Phase::superseded) return {};
    return fail(
        Error(ErrorKind::refused,
              fmt::format("the VM is superseded on '{}'; its line there waits for a decision",
                          peer_name(work)))
            .advising("First decide there, with `understudy replica resolve`."));
}

Result<> check(Work& work) {
    auto& site = work.site();
    if (is_past_record(work)) return {};
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(vm_id(work)));
    if (vm)
        UNDERSTUDY_TRY(engine::may_start(vm->ownership, site.cluster.id, vm->name,
                                         cluster_name(site, vm->ownership.owner)));
    auto peer = UNDERSTUDY_VALUE(site.catalog.peer(peer_id(work)));
    if (!protocol::has_feature(peer.capabilities, protocol::kFeatureHandover))
        return fail(
            Error(ErrorKind::unsupported, fmt::format("'{}' (version '{}') cannot take VMs over",
                                                      peer.name, peer.capabilities.version))
                .advising("Update the older side."));
    UNDERSTUDY_TRY(check_resolved_there(work));
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(vm_id(work)));
    if (described.summary.state == ports::VmState::paused)
        return fail(Error(ErrorKind::refused, "the VM is paused: it cannot shut down")
                        .advising("Resume it (`virsh resume`) or stop it first."));
    if (!memo_of(work).was_running)
        memo_of(work).was_running = described.summary.state == ports::VmState::running;
    return {};
}

// The target must be able to start the VM. The answer to every send says whether it can.
Result<> check_readiness(Work& work, const SendResult& sent) {
    const auto issues = sent.readiness.value_or(std::vector<model::ReadinessIssue>{});
    auto fine = engine::check_obstacles(issues, arguments_of(work).accept);
    if (!fine)
        return fail(std::move(fine.error()).during(fmt::format("start on '{}'", peer_name(work))));
    return {};
}

Result<SnapshotId> snapshot_and_send(Work& work, const std::string& part) {
    const auto vm = vm_id(work);
    const auto taken = UNDERSTUDY_VALUE(run_part<SnapshotCreateResult>(
        work, part, snapshot_create(),
        SnapshotCreateArguments{
            .vm = vm,
            .snapshot = work.site().random.id<SnapshotId>(),
            .name = fmt::format("{}-{}", stamped_name(work.site(), "move"), part)}));
    if (!taken.snapshot) return fail(ErrorKind::corrupt, "the part does not name its snapshot");
    const auto id = taken.snapshot->id;
    const auto sent =
        run_part<SendResult>(work, part + "-send", send(),
                             SendArguments{.vm = vm,
                                           .snapshot = id,
                                           .peer = peer_id(work),
                                           .rate_bytes = arguments_of(work).rate_bytes,
                                           .accept = arguments_of(work).accept});
    if (!sent) return fail(Error(sent.error()).during("send"));
    UNDERSTUDY_TRY(check_readiness(work, *sent));
    return id;
}

// Sends snapshots while the VM runs, until the rest is small.
Result<> presend(Work& work) {
    if (is_past_record(work) || !memo_of(work).was_running.value_or(false)) return {};
    auto& clock = work.site().clock;
    for (unsigned round = 1; round <= kMostRounds && !memo_of(work).rest_is_small; ++round) {
        const auto began = clock.monotonic();
        UNDERSTUDY_TRY(snapshot_and_send(work, fmt::format("round{}", round)));
        const auto took = clock.monotonic() - began;
        work.log(fmt::format("round {} took {}", round, base::format_duration(took)));
        if (took <= kShortRound) memo_of(work).rest_is_small = true;
    }
    memo_of(work).rest_is_small = true;
    return {};
}

Result<bool> stops_within(Work& work, Duration limit) {
    auto& site = work.site();
    const auto until = site.clock.monotonic() + limit;
    while (true) {
        auto presence = UNDERSTUDY_VALUE(presence_of(site, vm_id(work)));
        if (presence != Presence::running) return true;
        if (site.clock.monotonic() >= until) return false;
        UNDERSTUDY_TRY(work.checkpoint());
        site.clock.sleep(kLookEvery);
    }
}

Result<> stop_guest(Work& work) {
    auto& site = work.site();
    if (is_past_record(work)) return {};
    const Duration limit(
        static_cast<std::int64_t>(arguments_of(work).limit_ms.value_or(kShutdownLimit)));
    if (!memo_of(work).stopped_at) {
        memo_of(work).stopped_at = site.clock.now();
        UNDERSTUDY_TRY(work.save_memo());
    }
    auto presence = UNDERSTUDY_VALUE(presence_of(site, vm_id(work)));
    if (presence != Presence::running) return {};
    memo_of(work).was_running = true;  // perhaps since a moment ago
    UNDERSTUDY_TRY(work.save_memo());
    auto asked = site.hypervisor.shutdown(vm_id(work), Duration(0));
    if (!asked && asked.error().kind() != ErrorKind::unavailable) return error_of(asked);
    auto stopped = UNDERSTUDY_VALUE(stops_within(work, limit));
    if (stopped) return {};
    if (!arguments_of(work).force_off)
        return fail(
            Error(ErrorKind::unsupported, fmt::format("the guest did not shut down within {}",
                                                      base::format_duration(limit)))
                .keeping("the VM here, running")
                .advising("Give it more time with --limit, or use --force-off to switch it off "
                          "after that time."));
    work.log("the guest did not shut down in time: it is switched off");
    return site.hypervisor.stop(vm_id(work));
}

Result<> send_last(Work& work) {
    if (is_past_record(work)) return {};
    auto last = UNDERSTUDY_VALUE(snapshot_and_send(work, "last"));
    memo_of(work).last = last;
    return {};
}

// From this record on only the target decides.
Result<> give_away(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(vm_id(work)));
    if (is_past_record(work) && vm.ownership.phase != Phase::owned) return {};
    // No snapshot begins after the record below; those that have begun must be over.
    UNDERSTUDY_TRY(check_turn(site, vm.id, Asker::handover, work.task().id));
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(vm.id));
    const auto last = memo_of(work).last.value_or(SnapshotId{});
    const bool stopped = described.summary.state == ports::VmState::stopped;
    auto all_sent = UNDERSTUDY_VALUE(stopped ? holds_nothing_beyond(site, vm.id, vm.disks, last)
                                             : Result<bool>(false));
    if (!all_sent || described.disks.size() != vm.disks.size()) {
        memo_of(work).next.reset();
        forget_part(work, "last");
        forget_part(work, "last-send");
        return fail(ErrorKind::conflict, "the VM ran or changed since its last snapshot");
    }
    auto next =
        UNDERSTUDY_VALUE(engine::handing_over(vm.ownership, site.cluster.id, peer_id(work)));
    memo_of(work).next = next;
    memo_of(work).disks = vm.disks;
    memo_of(work).autostart = vm.autostart;
    UNDERSTUDY_TRY(work.save_memo());
    UNDERSTUDY_TRY(change_role(site, vm, next, work.task().actor));
    work.log(fmt::format("given away: from now on '{}' decides, at epoch {}", peer_name(work),
                         next.epoch));
    return {};
}

Error waiting(Work& work, Error error) {
    const auto word = base::shell_word(work.task().id.text().substr(0, 8));
    return std::move(error)
        .during(fmt::format("hand over to '{}'", peer_name(work)))
        .keeping("the VM, stopped here; it may run there already")
        .advising(fmt::format("This task continues until '{}' has answered. `understudy task "
                              "cancel {}` asks it to give the VM back.",
                              peer_name(work), word));
}

// Asks the target to take the VM over; once it has refused, or after a cancel, to give it back. A
// refusal is saved in the memo, so that every later attempt asks for the VM back.
Result<model::Ownership> request_decision(Work& work, const model::Ownership& offered) {
    auto link = UNDERSTUDY_VALUE(work.site().peers.to(peer_id(work)));
    const bool cancelled = work.interrupted() && !work.stopping();
    if (!cancelled && !memo_of(work).refusal) {
        ports::Handover handover{vm_id(work), offered, memo_of(work).last.value_or(SnapshotId{})};
        handover.start = is_to_start(work);
        handover.autostart = memo_of(work).autostart;
        handover.accept = arguments_of(work).accept;
        auto answer = link->hand_over(handover);
        if (answer || answer.error().kind() == ErrorKind::unavailable) return answer;
        work.log("it is not taken over: " + answer.error().text());
        memo_of(work).refusal = answer.error().text();
        UNDERSTUDY_TRY(work.save_memo());
    }
    return link->take_back(vm_id(work), offered);
}

// A third cluster owns the VM: the offer is void, and what was written here is one of two lines.
Result<> was_superseded(Work& work, const model::Vm& vm, const model::Ownership& now) {
    const auto owner = cluster_name(work.site(), now.owner);
    UNDERSTUDY_TRY(see_branch_kept(work.site(), vm, now));
    return fail(
        Error(ErrorKind::refused,
              fmt::format("'{}' takes VM '{}' over no more: '{}' has been promoted and owns "
                          "it at epoch {}",
                          peer_name(work), vm.name, owner, now.epoch))
            .keeping("what this cluster wrote; the VM here is stopped and superseded")
            .advising(fmt::format("Say which line continues: `understudy replica resolve {} "
                                  "--keep-there` (the line of '{}') or --keep-here.",
                                  base::shell_word(vm.name), owner)));
}

Result<> was_given_back(Work& work) {
    if (memo_of(work).refusal)
        return fail(Error(ErrorKind::refused, *memo_of(work).refusal)
                        .during(fmt::format("hand over to '{}'", peer_name(work)))
                        .keeping("the VM here"));
    return fail(Error(ErrorKind::cancelled, "the VM is this cluster's own again"));
}

Result<> request_takeover(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(vm_id(work)));
    if (vm.ownership.phase == Phase::owned) {
        // The VM is owned here: given back by the target's answer, or kept here by an operator. If
        // the answer said that the target took it, the VM went there and has come back since.
        const auto& answer = memo_of(work).answer;
        const bool came_back = answer && answer->phase != Phase::owned;
        return came_back ? Result<>{} : was_given_back(work);
    }
    if (vm.ownership.phase == Phase::superseded) return was_superseded(work, vm, vm.ownership);
    if (vm.ownership.phase != Phase::handing_over) return {};
    auto answer = request_decision(work, vm.ownership);
    if (!answer) return fail(waiting(work, std::move(answer.error())));
    const auto next = engine::after_answer(vm.ownership, *answer, site.cluster.id, peer_id(work));
    if (!next) return fail(waiting(work, Error(ErrorKind::unavailable, "it has not decided")));
    memo_of(work).answer = *next;
    UNDERSTUDY_TRY(work.save_memo());
    UNDERSTUDY_TRY(change_role(site, vm, *next, work.task().actor));
    if (next->phase == Phase::owned) return was_given_back(work);
    if (next->phase == Phase::superseded) return was_superseded(work, vm, *next);
    work.log(
        fmt::format("'{}' owns the VM at epoch {}", cluster_name(site, next->owner), next->epoch));
    return {};
}

Result<> remove_local_vm(Work& work) {
    if (memo_of(work).departed) return {};
    auto presence = UNDERSTUDY_VALUE(presence_of(work.site(), vm_id(work)));
    // Somebody started it past all refusals: what it wrote is kept, and it must not run.
    if (presence == Presence::running) UNDERSTUDY_TRY(work.site().hypervisor.stop(vm_id(work)));
    UNDERSTUDY_TRY(depart(work, memo_of(work).departs_from, vm_id(work), memo_of(work).disks,
                          memo_of(work).last));
    memo_of(work).departed = true;
    return {};
}

void write_result(Work& work, bool started) {
    auto& result = result_of(work);
    result.peer = peer_name(work);
    if (memo_of(work).next) result.epoch = memo_of(work).next->epoch;
    result.snapshot = memo_of(work).last;
    result.wire_bytes = work.task().progress.wire_bytes;
    result.started = started;
    const auto& since = memo_of(work).stopped_at;
    if (started && since) result.downtime_ms = (work.site().clock.now() - *since).count();
}

// The target starts it by itself; this only looks, so that the operator knows.
Result<> see_it_run(Work& work) {
    auto& site = work.site();
    if (!is_to_start(work)) {
        write_result(work, false);
        return {};
    }
    auto link = UNDERSTUDY_VALUE(site.peers.to(peer_id(work)));
    const auto until = site.clock.monotonic() + site.settings.handover_patience;
    std::string trouble = "it is not known to run yet";
    while (site.clock.monotonic() < until && !work.interrupted()) {
        auto there = link->look_up_state(vm_id(work));
        if (there && there->state == "running") {
            write_result(work, true);
            return {};
        }
        if (there && !there->trouble.empty()) {
            trouble = there->trouble;
            break;
        }
        site.clock.sleep(kLookEvery);
    }
    return fail(
        Error(ErrorKind::unsupported, fmt::format("'{}' owns the VM: {}", peer_name(work), trouble))
            .keeping("all data: it is complete there")
            .advising(fmt::format("Look there: `understudy vm info {}`, `understudy task "
                                  "list`.",
                                  vm_id(work).text())));
}

// Starts the VM here again, if this task has stopped it. Only for a VM that this side owns.
Result<> restart(Work& work) {
    auto& site = work.site();
    if (!memo_of(work).was_running.value_or(false) || !memo_of(work).stopped_at) return {};
    auto stopped = UNDERSTUDY_VALUE(stops_within(work, kRestartPatience));
    if (!stopped) {
        work.log("the VM runs; it was asked to shut down, and may still shut down");
        return {};
    }
    auto started = site.hypervisor.start(vm_id(work));
    if (!started)
        return fail(std::move(started.error())
                        .during("start the VM here again")
                        .advising("`understudy vm start` tries again."));
    work.log("the VM runs here again");
    return {};
}

// Whether no target decides about this line of the VM any more.
bool is_ours_again(const model::Vm& vm) {
    return vm.ownership.phase == Phase::owned || vm.ownership.phase == Phase::superseded;
}

// If the task is cancelled between the record and the first question, nobody else would ever ask.
// If the target has taken the VM, it keeps it.
Result<> ask_for_it_back(Work& work) {
    if (!memo_of(work).refusal) memo_of(work).refusal = "cancelled by the operator";
    auto asked = request_takeover(work);
    if (!asked && asked.error().kind() == ErrorKind::unavailable) return asked;
    auto vm = UNDERSTUDY_VALUE(work.site().catalog.vm(vm_id(work)));
    if (is_ours_again(vm)) return {};
    return asked ? remove_local_vm(work) : asked;
}

Result<> clean_up(Work& work) {
    auto vm = UNDERSTUDY_VALUE(work.site().catalog.find_vm(vm_id(work)));
    if (is_past_record(work) && vm && vm->ownership.phase == Phase::handing_over) {
        UNDERSTUDY_TRY(ask_for_it_back(work));
        vm = UNDERSTUDY_VALUE(work.site().catalog.find_vm(vm_id(work)));
    }
    const bool owned = vm && vm->ownership.phase == Phase::owned;
    // `task retry` goes on.
    if (is_past_record(work) && vm && !is_ours_again(*vm)) return {};
    UNDERSTUDY_TRY(undo_parts(work, {snapshot_create(), send()}));
    if (owned) UNDERSTUDY_TRY(restart(work));
    work.begin_again();
    return {};
}

}  // namespace

Kind move() {
    return {.name = kMove,
            .records = records_of<MoveArguments, MoveMemo, MoveResult>(),
            .steps = {{.name = "check", .run = check},
                      {.name = "presend", .run = presend},
                      {.name = "stop", .run = stop_guest},
                      {.name = "send_last", .run = send_last},
                      {.name = "give_away", .run = give_away},
                      {.name = "ask", .run = request_takeover, .must_go_on = true},
                      {.name = "let_go", .run = remove_local_vm, .must_go_on = true},
                      {.name = "see_it_run", .run = see_it_run}},
            .on_failure = clean_up};
}

}  // namespace understudy::tasks
