#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "protocol/features.hpp"
#include "tasks/arguments.hpp"
#include "tasks/branch.hpp"
#include "tasks/kinds.hpp"
#include "tasks/parts.hpp"
#include "tasks/roles.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

// A VM moves with nothing lost. While it runs, snapshots of it are sent until the rest is small; it
// is shut down, the last snapshot follows, and `give_away` records that the target decides from
// now on. Before that record whatever fails leaves the VM here, started again; after it this side
// asks until the target has answered, and never starts the VM unless the target declined.

namespace understudy::tasks {
namespace {

using model::Phase;

constexpr unsigned kMostRounds = 4;     // of presending
constexpr Duration kShortRound{5'000};  // the rest of one that took no longer is small
constexpr Duration kLookEvery{100};
constexpr Duration kRestartPatience{30'000};  // for a guest that still shuts down
constexpr std::uint64_t kShutdownLimit = 120'000;

VmId vm_id(Work& work) {
    return id_in<VmId>(work.arguments(), "vm");
}

ClusterId peer_id(Work& work) {
    return id_in<ClusterId>(work.arguments(), "peer");
}

std::string peer_name(Work& work) {
    return cluster_name(work.site(), peer_id(work));
}

bool is_past_record(Work& work) {
    return work.memo().contains("next");
}

// There: a VM that was off stays off.
bool is_to_start(Work& work) {
    return flag_in(work.arguments(), "start", true) && flag_in(work.memo(), "was_running");
}

// The target could not take it.
Result<> check_resolved_there(Work& work) {
    auto link = work.site().peers.to(peer_id(work));
    if (!link) return std::unexpected(std::move(link.error()));
    auto there = (*link)->look_up(vm_id(work));
    if (!there) return std::unexpected(std::move(there.error()));
    if (!there->known || there->ownership.phase != Phase::superseded) return {};
    return fail(Error(ErrorKind::refused,
                      fmt::format("the VM is superseded on '{}', where a line of it waits for a "
                                  "decision",
                                  peer_name(work)))
                    .advising("Settle that first, there: `understudy replica resolve`."));
}

Result<> check(Work& work) {
    auto& site = work.site();
    if (is_past_record(work)) return {};
    auto vm = site.catalog.find_vm(vm_id(work));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (*vm)
        UNDERSTUDY_TRY(engine::may_start((*vm)->ownership, site.cluster.id, (*vm)->name,
                                         cluster_name(site, (*vm)->ownership.owner)));
    auto peer = site.catalog.peer(peer_id(work));
    if (!peer) return std::unexpected(std::move(peer.error()));
    if (!protocol::has_feature(peer->capabilities, protocol::kFeatureHandover))
        return fail(
            Error(ErrorKind::unsupported, fmt::format("'{}' (version '{}') takes no VM over",
                                                      peer->name, peer->capabilities.version))
                .advising("Bring both sides to neighbouring versions."));
    UNDERSTUDY_TRY(check_resolved_there(work));
    auto described = site.hypervisor.describe(vm_id(work));
    if (!described) return std::unexpected(std::move(described.error()));
    if (described->summary.state == ports::VmState::paused)
        return fail(Error(ErrorKind::refused, "the VM is paused: it cannot shut down")
                        .advising("Resume it (`virsh resume`) or stop it first."));
    if (!work.memo().contains("was_running"))
        work.memo()["was_running"] = described->summary.state == ports::VmState::running;
    return {};
}

// The target must be able to start it; known from the answer to every send.
Result<> check_readiness(Work& work, const nlohmann::json& sent) {
    const auto issues =
        sent.value("readiness", nlohmann::json::array()).get<std::vector<model::ReadinessIssue>>();
    auto fine = engine::check_obstacles(issues, texts_in(work.arguments(), "accept"));
    if (!fine)
        return fail(std::move(fine.error()).during(fmt::format("start on '{}'", peer_name(work))));
    return {};
}

Result<SnapshotId> snapshot_and_send(Work& work, const std::string& part) {
    const auto vm = vm_id(work).text();
    auto taken = run_part(work, part, snapshot_create(),
                          {{"vm", vm},
                           {"snapshot", work.site().random.id<SnapshotId>().text()},
                           {"name", stamped_name(work.site(), "move") + "-" + part},
                           {"freeze", true}});
    if (!taken) return std::unexpected(std::move(taken.error()));
    const auto id = taken->at("snapshot").get<model::Snapshot>().id;
    auto sent = run_part(work, part + "-send", send(),
                         {{"vm", vm},
                          {"snapshot", id.text()},
                          {"peer", peer_id(work).text()},
                          {"full", false},
                          {"rate_bytes", number_in(work.arguments(), "rate_bytes")},
                          {"accept", texts_in(work.arguments(), "accept")}});
    if (!sent) return std::unexpected(std::move(sent.error()).during("send"));
    UNDERSTUDY_TRY(check_readiness(work, *sent));
    return id;
}

// While the VM runs, until what is left is small.
Result<> presend(Work& work) {
    if (is_past_record(work) || !flag_in(work.memo(), "was_running")) return {};
    auto& clock = work.site().clock;
    for (unsigned round = 1; round <= kMostRounds && !flag_in(work.memo(), "rest_is_small");
         ++round) {
        const auto began = clock.monotonic();
        UNDERSTUDY_TRY(snapshot_and_send(work, fmt::format("round{}", round)));
        const auto took = clock.monotonic() - began;
        work.log(fmt::format("round {} took {}", round, base::format_duration(took)));
        if (took <= kShortRound) work.memo()["rest_is_small"] = true;
    }
    work.memo()["rest_is_small"] = true;
    return {};
}

Result<bool> stops_within(Work& work, Duration limit) {
    auto& site = work.site();
    const auto until = site.clock.monotonic() + limit;
    while (true) {
        auto presence = presence_of(site, vm_id(work));
        if (!presence) return std::unexpected(std::move(presence.error()));
        if (*presence != Presence::running) return true;
        if (site.clock.monotonic() >= until) return false;
        UNDERSTUDY_TRY(work.checkpoint());
        site.clock.sleep(kLookEvery);
    }
}

Result<> stop_guest(Work& work) {
    auto& site = work.site();
    if (is_past_record(work)) return {};
    const Duration limit(
        static_cast<std::int64_t>(number_in(work.arguments(), "limit_ms", kShutdownLimit)));
    if (!work.memo().contains("stopped_at")) {
        work.memo()["stopped_at"] = base::format_time(site.clock.now());
        UNDERSTUDY_TRY(work.save_memo());
    }
    auto presence = presence_of(site, vm_id(work));
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence != Presence::running) return {};
    work.memo()["was_running"] = true;  // perhaps since a moment ago
    UNDERSTUDY_TRY(work.save_memo());
    auto asked = site.hypervisor.shutdown(vm_id(work), Duration(0));
    if (!asked && asked.error().kind() != ErrorKind::unavailable)
        return std::unexpected(std::move(asked.error()));
    auto stopped = stops_within(work, limit);
    if (!stopped) return std::unexpected(std::move(stopped.error()));
    if (*stopped) return {};
    if (!flag_in(work.arguments(), "force_off"))
        return fail(
            Error(ErrorKind::unsupported, fmt::format("the guest did not shut down within {}",
                                                      base::format_duration(limit)))
                .keeping("the VM here, running")
                .advising("Give it longer with --limit, or --force-off switches it off "
                          "then."));
    work.log("the guest did not shut down in time: it is switched off");
    return site.hypervisor.stop(vm_id(work));
}

Result<> send_last(Work& work) {
    if (is_past_record(work)) return {};
    auto last = snapshot_and_send(work, "last");
    if (!last) return std::unexpected(std::move(last.error()));
    work.memo()["last"] = last->text();
    return {};
}

// From this record on only the target decides.
Result<> give_away(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(vm_id(work));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (is_past_record(work) && vm->ownership.phase != Phase::owned) return {};
    // From this record on nobody begins one any more.
    UNDERSTUDY_TRY(check_no_snapshot_is_half_done(site, vm->id, work.task().id));
    auto described = site.hypervisor.describe(vm->id);
    if (!described) return std::unexpected(std::move(described.error()));
    const auto last = id_in<SnapshotId>(work.memo(), "last");
    const bool stopped = described->summary.state == ports::VmState::stopped;
    auto all_sent =
        stopped ? holds_nothing_beyond(site, vm->id, vm->disks, last) : Result<bool>(false);
    if (!all_sent) return std::unexpected(std::move(all_sent.error()));
    if (!*all_sent || described->disks.size() != vm->disks.size()) {
        work.memo().erase("next");
        forget_part(work, "last");
        forget_part(work, "last-send");
        return fail(ErrorKind::conflict, "the VM ran or changed since its last snapshot");
    }
    auto next = engine::handing_over(vm->ownership, site.cluster.id, peer_id(work));
    if (!next) return std::unexpected(std::move(next.error()));
    work.memo()["next"] = *next;
    work.memo()["disks"] = vm->disks;
    work.memo()["autostart"] = vm->autostart;
    UNDERSTUDY_TRY(work.save_memo());
    UNDERSTUDY_TRY(change_role(site, *vm, *next, work.task().actor));
    work.log(fmt::format("given away: '{}' decides at epoch {}", peer_name(work), next->epoch));
    return {};
}

Error waiting(Work& work, Error error) {
    const auto word = base::shell_word(work.task().id.text().substr(0, 8));
    return std::move(error)
        .during(fmt::format("hand over to '{}'", peer_name(work)))
        .keeping("the VM stopped here: it may run there already")
        .advising(fmt::format("This goes on until '{}' has answered; `understudy task cancel {}` "
                              "asks it to give the VM back.",
                              peer_name(work), word));
}

// One question, and what is to be asked next time when this one had no answer.
Result<model::Ownership> answer_of_target(Work& work, const model::Ownership& offered) {
    auto link = work.site().peers.to(peer_id(work));
    if (!link) return std::unexpected(std::move(link.error()));
    const bool cancelled = work.interrupted() && !work.stopping();
    if (!cancelled && !work.memo().contains("refusal")) {
        ports::Handover handover{vm_id(work), offered, id_in<SnapshotId>(work.memo(), "last")};
        handover.start = is_to_start(work);
        handover.autostart = flag_in(work.memo(), "autostart");
        handover.accept = texts_in(work.arguments(), "accept");
        auto answer = (*link)->hand_over(handover);
        if (answer || answer.error().kind() == ErrorKind::unavailable) return answer;
        work.log("it is not taken over: " + answer.error().text());
        work.memo()["refusal"] = answer.error().text();
        UNDERSTUDY_TRY(work.save_memo());
    }
    return (*link)->take_back(vm_id(work), offered);
}

// The offer counts for nothing any more, and this cluster's line of the VM is one of two.
Result<> was_superseded(Work& work, const model::Vm& vm, const model::Ownership& now) {
    const auto owner = cluster_name(work.site(), now.owner);
    UNDERSTUDY_TRY(see_branch_kept(work.site(), vm, now));
    return fail(
        Error(ErrorKind::refused,
              fmt::format("'{}' takes VM '{}' over no more: '{}' has been promoted and owns "
                          "it at epoch {}",
                          peer_name(work), vm.name, owner, now.epoch))
            .keeping("what this cluster wrote, stopped here as superseded")
            .advising(fmt::format("Say which line goes on: `understudy replica resolve "
                                  "{} --keep-there` (that of '{}') or --keep-here.",
                                  base::shell_word(vm.name), owner)));
}

Result<> was_given_back(Work& work) {
    if (work.memo().contains("refusal"))
        return fail(Error(ErrorKind::refused, text_in(work.memo(), "refusal"))
                        .during(fmt::format("hand over to '{}'", peer_name(work)))
                        .keeping("the VM here"));
    return fail(Error(ErrorKind::cancelled, "the VM is this cluster's own again"));
}

Result<> ask(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(vm_id(work));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (vm->ownership.phase == Phase::owned) {
        // By this answer, or by its operator; else it went there, and came back meanwhile.
        const auto answer = work.memo().find("answer");
        const bool came_back =
            answer != work.memo().end() && answer->get<model::Ownership>().phase != Phase::owned;
        return came_back ? Result<>{} : was_given_back(work);
    }
    if (vm->ownership.phase == Phase::superseded) return was_superseded(work, *vm, vm->ownership);
    if (vm->ownership.phase != Phase::handing_over) return {};
    auto answer = answer_of_target(work, vm->ownership);
    if (!answer) return fail(waiting(work, std::move(answer.error())));
    const auto next = engine::after_answer(vm->ownership, *answer, site.cluster.id, peer_id(work));
    if (!next) return fail(waiting(work, Error(ErrorKind::unavailable, "it has not decided")));
    work.memo()["answer"] = *next;
    UNDERSTUDY_TRY(work.save_memo());
    UNDERSTUDY_TRY(change_role(site, *vm, *next, work.task().actor));
    if (next->phase == Phase::owned) return was_given_back(work);
    if (next->phase == Phase::superseded) return was_superseded(work, *vm, *next);
    work.log(
        fmt::format("'{}' owns the VM at epoch {}", cluster_name(site, next->owner), next->epoch));
    return {};
}

Result<> let_go(Work& work) {
    if (flag_in(work.memo(), "departed")) return {};
    auto presence = presence_of(work.site(), vm_id(work));
    if (!presence) return std::unexpected(std::move(presence.error()));
    // Somebody started it past all refusals: what it wrote is kept, and it must not run.
    if (*presence == Presence::running) UNDERSTUDY_TRY(work.site().hypervisor.stop(vm_id(work)));
    UNDERSTUDY_TRY(depart(work, work.memo().at("disks").get<std::vector<model::VmDisk>>(),
                          id_in<SnapshotId>(work.memo(), "last")));
    work.memo()["departed"] = true;
    return {};
}

void tell(Work& work, bool started) {
    auto& result = work.result();
    const auto next = work.memo().at("next").get<model::Ownership>();
    result["peer"] = peer_name(work);
    result["epoch"] = next.epoch;
    result["snapshot"] = text_in(work.memo(), "last");
    result["wire_bytes"] = work.task().progress.wire_bytes;
    result["started"] = started;
    const auto since = base::parse_time(text_in(work.memo(), "stopped_at"));
    if (started && since) result["downtime_ms"] = (work.site().clock.now() - *since).count();
}

// The target starts it by itself; this only looks, so that the operator knows.
Result<> see_it_run(Work& work) {
    auto& site = work.site();
    if (!is_to_start(work)) {
        tell(work, false);
        return {};
    }
    auto link = site.peers.to(peer_id(work));
    if (!link) return std::unexpected(std::move(link.error()));
    const auto until = site.clock.monotonic() + site.settings.handover_patience;
    std::string trouble = "it is not known to run yet";
    while (site.clock.monotonic() < until && !work.interrupted()) {
        auto there = (*link)->look_up_state(vm_id(work));
        if (there && there->state == "running") {
            tell(work, true);
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

// Only what was not given away is this side's to start.
Result<> restart(Work& work) {
    auto& site = work.site();
    if (!flag_in(work.memo(), "was_running") || !work.memo().contains("stopped_at")) return {};
    auto stopped = stops_within(work, kRestartPatience);
    if (!stopped) return std::unexpected(std::move(stopped.error()));
    if (!*stopped) {
        work.log("the VM runs; it was asked to shut down and may still do so");
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

// No target decides about this line of it any more.
bool is_ours_again(const model::Vm& vm) {
    return vm.ownership.phase == Phase::owned || vm.ownership.phase == Phase::superseded;
}

// Cancelled between the record and the first question: nobody else would ever ask. What the target
// has taken it keeps.
Result<> ask_for_it_back(Work& work) {
    if (!work.memo().contains("refusal")) work.memo()["refusal"] = "cancelled by the operator";
    auto asked = ask(work);
    if (!asked && asked.error().kind() == ErrorKind::unavailable) return asked;
    auto vm = work.site().catalog.vm(vm_id(work));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (is_ours_again(*vm)) return {};
    return asked ? let_go(work) : asked;
}

Result<> clean_up(Work& work) {
    auto vm = work.site().catalog.find_vm(vm_id(work));
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (is_past_record(work) && *vm && (*vm)->ownership.phase == Phase::handing_over) {
        UNDERSTUDY_TRY(ask_for_it_back(work));
        vm = work.site().catalog.find_vm(vm_id(work));
        if (!vm) return std::unexpected(std::move(vm.error()));
    }
    const bool owned = *vm && (*vm)->ownership.phase == Phase::owned;
    // `task retry` goes on.
    if (is_past_record(work) && *vm && !is_ours_again(**vm)) return {};
    UNDERSTUDY_TRY(undo_parts(work, {snapshot_create(), send()}));
    if (owned) UNDERSTUDY_TRY(restart(work));
    work.begin_again();
    return {};
}

}  // namespace

Kind move() {
    return Kind{kMove,
                {{"check", check},
                 {"presend", presend},
                 {"stop", stop_guest},
                 {"send_last", send_last},
                 {"give_away", give_away},
                 {"ask", ask, true},
                 {"let_go", let_go, true},
                 {"see_it_run", see_it_run}},
                clean_up,
                true};
}

}  // namespace understudy::tasks
