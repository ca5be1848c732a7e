#include "base/shell_word.hpp"
#include "model/json.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/boot_check.hpp"
#include "tasks/drills/boot_evidence.hpp"
#include "tasks/drills/drilling.hpp"
#include "tasks/drills/kinds.hpp"
#include "tasks/queue/events.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/drill_records.hpp"

#include <fmt/format.h>

// A copy of a replica is started, watched and taken away again. It writes into throw-away heads,
// has a name and a UUID of its own and no way out, so that neither the VM, nor what arrives for it,
// nor who owns it is touched. Whatever an earlier attempt left is taken away before anything is
// made: what was cut off begins anew, because its time to boot is not known any more.

namespace understudy::tasks {
namespace {

using nlohmann::json;

const ReplicaDrillArguments& arguments_of(Work& work) {
    return work.arguments<ReplicaDrillArguments>();
}

ReplicaDrillMemo& memo_of(Work& work) {
    return work.memo<ReplicaDrillMemo>();
}

ReplicaDrillResult& result_of(Work& work) {
    return work.result<ReplicaDrillResult>();
}

constexpr std::uint64_t kMostBegins = 3;      // attempts; each but the last was cut off
constexpr ByteSize kSpared = base::MiB(256);  // of the host's memory, besides the guest's
constexpr std::size_t kShownTail = 20;        // lines of the console in the log of a failure

VmId vm_id(Work& work) {
    return arguments_of(work).vm;
}

SnapshotId snapshot_id(Work& work) {
    return arguments_of(work).snapshot;
}

model::Hold hold_of(Work& work) {
    return {snapshot_id(work), model::HoldKind::drill, work.task().id.text()};
}

// Removes the copy's disks. The memo names their volumes (`volumes`), and then where their heads
// are (`heads`).
Result<> take_away_disks(Work& work) {
    const auto& memo = memo_of(work);
    if (!memo.volumes) return {};
    for (const auto& disk : *memo.volumes) {
        auto pool = UNDERSTUDY_VALUE(work.site().pool(disk.pool));
        ports::DiskSource source;
        if (memo.heads) {
            const auto head = memo.heads->find(disk.target);
            if (head == memo.heads->end())
                return fail(ErrorKind::corrupt, "no head of " + disk.target + " in the memo");
            source = head->second.source();
        } else {
            // The attempt was cut off before the heads were in its memo. The pool gives an unused
            // head once more, so it can be found here.
            auto made =
                pool->activate(disk.volume, snapshot_id(work), ports::ActivationKind::drill);
            if (!made && made.error().kind() == ErrorKind::not_found) continue;
            if (!made) return error_of(made);
            source = std::move(*made);
        }
        auto gone = pool->deactivate(disk.volume, source);
        if (gone || gone.error().kind() == ErrorKind::not_found) continue;
        // refused: QEMU has not let go of it yet.
        const bool later = gone.error().kind() == ErrorKind::refused;
        return fail(
            Error(later ? ErrorKind::unavailable : gone.error().kind(), gone.error().step_text())
                .during("remove the copy of " + disk.target));
    }
    return {};
}

Result<> take_away_guest(Work& work) {
    auto& hypervisor = work.site().hypervisor;
    const auto id = rehearsal_of(work.task().id);
    auto presence = UNDERSTUDY_VALUE(presence_of(work.site(), id));
    if (presence == Presence::undefined) return {};
    for (const auto& gone : {hypervisor.stop(id), hypervisor.undefine(id)})
        if (!gone && gone.error().kind() != ErrorKind::not_found) return gone;
    return {};
}

// Removes everything that a rehearsal has made here, except its evidence. Idempotent, also where
// nothing was made.
Result<> take_away(Work& work) {
    if (!memo_of(work).volumes) return {};
    UNDERSTUDY_TRY(take_away_guest(work));
    if (const auto& path = memo_of(work).nvram; !path.empty())
        UNDERSTUDY_TRY(work.site().hypervisor.remove_nvram(path));
    UNDERSTUDY_TRY(take_away_disks(work));
    if (work.site().evidence) UNDERSTUDY_TRY(work.site().evidence->end_console(work.task().id));
    auto& memo = memo_of(work);
    memo.volumes.reset();
    memo.heads.reset();
    memo.nvram.clear();
    return work.save_memo();
}

Result<> hold(Work& work) {
    auto vm = UNDERSTUDY_VALUE(work.site().catalog.vm(vm_id(work)));
    if (vm.ownership.phase != model::Phase::replica)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is not a replica here", vm.name))
                        .advising("A drill tests the start of a replica only."));
    UNDERSTUDY_TRY(work.site().catalog.add_hold(hold_of(work)));
    // Record our start before looking for others: if two start at once, at least one sees the
    // other.
    memo_of(work).begun = true;
    UNDERSTUDY_TRY(work.save_memo());
    auto free = check_turn(work.site(), vm_id(work), Asker::drill, work.task().id);
    if (!free) memo_of(work).begun = false;
    return free;
}

Result<> check_memory(Work& work, const ports::Adapted& adapted) {
    auto free = UNDERSTUDY_VALUE(work.site().hypervisor.free_memory());
    if (free >= adapted.memory + kSpared) return {};
    return fail(Error(ErrorKind::unavailable,
                      fmt::format("the copy needs {} of memory, and this host has {} to spare",
                                  base::format_size(adapted.memory), base::format_size(free)))
                    .keeping("the replica as it was"));
}

std::string rehearsal_name(Work& work, const std::string& vm) {
    return fmt::format("{}-drill-{}", vm, work.task().id.text().substr(0, 8));
}

struct Stage {
    model::Vm vm;
    model::Snapshot snapshot;
    ports::Adapted adapted;
    std::unique_ptr<ports::ConsoleLog> console;
    Duration began{0};
};

// Everything that is not there yet is named in the memo before it is made.
Result<> make_disks(Work& work, Stage& stage, ports::AdaptRequest& request) {
    memo_of(work).volumes = vm_disks(stage.snapshot.disks);
    UNDERSTUDY_TRY(work.save_memo());
    stage.began = work.site().clock.monotonic();
    auto disks = UNDERSTUDY_VALUE(activate_disks(work.site(), stage.snapshot.disks,
                                                 stage.snapshot.id, ports::ActivationKind::drill));
    auto& heads = memo_of(work).heads.emplace();
    for (const auto& disk : disks) heads[disk.target] = KeptSource::of(disk.source);
    request.disks = std::move(disks);
    return {};
}

Result<> define(Work& work, Stage& stage) {
    auto& site = work.site();
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(stage.snapshot.id));
    ports::AdaptRequest request;
    request.domain_xml = definition.domain_xml;
    request.cut_off = true;
    request.new_name = rehearsal_name(work, stage.vm.name);
    request.new_id = rehearsal_of(work.task().id);
    request.isolated_network = arguments_of(work).network;
    auto networks = UNDERSTUDY_VALUE(networks_from(site, stage.vm.ownership.owner));
    request.networks = std::move(networks);
    UNDERSTUDY_TRY(make_disks(work, stage, request));
    if (site.evidence) {
        request.console_log = UNDERSTUDY_VALUE(site.evidence->begin_console(work.task().id));
    }
    auto adapted = site.hypervisor.adapt(request);
    if (!adapted) return fail(std::move(adapted.error()).during("adapt the definition"));
    stage.adapted = std::move(*adapted);
    memo_of(work).nvram = stage.adapted.nvram_path;
    UNDERSTUDY_TRY(work.save_memo());
    UNDERSTUDY_TRY(check_memory(work, stage.adapted));
    for (const auto& change : stage.adapted.changes) work.log(change);
    for (const auto& issue : stage.adapted.issues) work.log(issue.key + ": " + issue.text);
    if (!stage.adapted.nvram_path.empty() && !definition.nvram.empty())
        UNDERSTUDY_TRY(site.hypervisor.write_nvram(stage.adapted.nvram_path, definition.nvram));
    UNDERSTUDY_TRY(site.hypervisor.define(stage.adapted.domain_xml));
    if (!site.evidence || !stage.adapted.has_console) return {};
    auto console = UNDERSTUDY_VALUE(site.evidence->open_console(work.task().id));
    stage.console = std::move(console);
    return {};
}

// Errors that say nothing about the guest: the drill has no result then. It is tried again or
// fails.
bool is_no_finding(const Error& error) {
    return error.kind() == ErrorKind::refused || error.kind() == ErrorKind::not_found ||
           error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::conflict ||
           error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::no_space;
}

struct Seen {
    model::Drill drill;
    std::string screen;  // PNG; empty: none could be taken
    std::string console;
};

BootWatch watch_for(Work& work, const Stage& stage, const BootCheck& asked) {
    const auto& settings = work.site().settings.drill;
    BootWatch watch;
    watch.vm = rehearsal_of(work.task().id);
    watch.check =
        definite(asked, stage.adapted.has_agent, stage.console != nullptr, settings.console);
    const auto limit = arguments_of(work).limit_ms;
    watch.limit = limit == 0 ? settings.limit : Duration(static_cast<Duration::rep>(limit));
    watch.min_uptime = settings.min_uptime;
    watch.console = stage.console.get();
    return watch;
}

// Starts the copy and waits for the answer to its check. If libvirt refuses the start, the drill
// has not passed: libvirt would refuse a promote, too.
Result<> boot(Work& work, const Stage& stage, Seen& seen) {
    auto& site = work.site();
    auto asked = UNDERSTUDY_VALUE(parse_boot_check(arguments_of(work).wait));
    auto watch = watch_for(work, stage, asked);
    seen.drill.check = to_words(watch.check);
    const auto look = [&] {
        auto picture = site.hypervisor.screenshot(watch.vm);
        if (picture) seen.screen = std::move(*picture);  // else the picture before stays
    };
    watch.look = look;
    auto started = site.hypervisor.start(watch.vm);
    if (!started && is_no_finding(started.error())) return started;
    if (!started) {
        seen.drill.outcome = "it could not be started: " + started.error().step_text();
        return {};
    }
    auto outcome = UNDERSTUDY_VALUE(watch_boot(work, watch, seen.console));
    look();
    seen.drill.passed = outcome.booted;
    seen.drill.outcome = outcome.text;
    if (!outcome.booted) return {};
    seen.drill.boot_ms = static_cast<std::uint64_t>(outcome.took.count());
    seen.drill.ready_ms =
        static_cast<std::uint64_t>((site.clock.monotonic() - stage.began).count());
    return {};
}

std::string last_lines(const std::string& text, std::size_t count) {
    auto at = text.size();
    for (std::size_t i = 0; i <= count && at != std::string::npos && at > 0; ++i)
        at = text.rfind('\n', at - 1);
    return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

// A drill without evidence is still a drill.
void keep_evidence_of_drill(Work& work, const Stage& stage, Seen& seen) {
    if (!work.site().evidence) return;
    json report = seen.drill;
    report["vm_name"] = stage.vm.name;
    report["task"] = work.task().id.text();
    report["changes"] = stage.adapted.changes;
    report["issues"] = stage.adapted.issues;
    auto kept = keep_boot_evidence(work, stage.vm.id, seen.drill.ended,
                                   {std::move(report), seen.screen, seen.console});
    if (kept)
        seen.drill.evidence = std::move(*kept);
    else
        work.log("evidence: " + kept.error().text());
}

Result<> perform(Work& work) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(vm_id(work)));
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(snapshot_id(work)));
    Stage stage{std::move(vm), std::move(snapshot), {}, nullptr, Duration(0)};
    Seen seen;
    seen.drill.vm = stage.vm.id;
    seen.drill.snapshot = stage.snapshot.id;
    seen.drill.snapshot_name = stage.snapshot.name;
    seen.drill.node = site.settings.node;
    auto defined = define(work, stage);
    if (!defined && is_no_finding(defined.error())) return defined;
    if (defined)
        UNDERSTUDY_TRY(boot(work, stage, seen));
    else
        seen.drill.outcome = "it could not be defined: " + defined.error().step_text();
    seen.drill.ended = site.clock.now();
    keep_evidence_of_drill(work, stage, seen);
    work.log(seen.drill.outcome);
    if (!seen.drill.passed && !seen.console.empty())
        work.log("the console said last:\n" + last_lines(seen.console, kShownTail));
    memo_of(work).drill = seen.drill;
    memo_of(work).issues = stage.adapted.issues;
    memo_of(work).changes = stage.adapted.changes;
    return work.save_memo();
}

Result<> rehearse(Work& work) {
    if (memo_of(work).drill) return {};
    UNDERSTUDY_TRY(take_away(work));
    const auto begins = memo_of(work).begins + 1;
    if (begins > kMostBegins)
        return fail(
            Error(ErrorKind::internal,
                  fmt::format("it was cut off {} times, because understudyd or its host stopped",
                              kMostBegins))
                .keeping("the replica as it was"));
    memo_of(work).begins = begins;
    UNDERSTUDY_TRY(work.save_memo());
    auto done = perform(work);
    if (done) return {};
    memo_of(work).begins = begins - 1;  // this one was not cut off
    // The daemon is stopping and may stay away for long: the guest must not run on without it.
    if (work.stopping() && work.save_memo()) {
        auto gone = take_away_guest(work);
        if (!gone) work.log(gone.error().text());
    }
    return done;
}

Result<> record(Work& work) {
    auto& site = work.site();
    if (!memo_of(work).drill)
        return fail(ErrorKind::corrupt, "the memo does not contain the result");
    const auto drill = *memo_of(work).drill;
    auto saved = site.catalog.save_drill(drill);
    if (!saved && saved.error().kind() != ErrorKind::not_found) return saved;
    UNDERSTUDY_TRY(site.catalog.remove_hold(hold_of(work)));
    record_event(site, {}, "drill", drill.vm,
                 fmt::format("{}: {}: {}", work.task().title, drill.passed ? "passed" : "FAILED",
                             drill.outcome));
    memo_of(work).begun = false;
    result_of(work).drill = drill;
    result_of(work).issues = memo_of(work).issues;
    result_of(work).changes = memo_of(work).changes;
    return {};
}

Result<> destroy_copy(Work& work) {
    UNDERSTUDY_TRY(take_away(work));
    UNDERSTUDY_TRY(work.site().catalog.remove_hold(hold_of(work)));
    work.begin_again();
    return {};
}

}  // namespace

Kind replica_drill() {
    Kind kind{.name = kReplicaDrill,
              .records = records_of<ReplicaDrillArguments, ReplicaDrillMemo, ReplicaDrillResult>(),
              .steps = {{.name = "hold", .run = hold},
                        {.name = "rehearse", .run = rehearse},
                        {.name = "take_away", .run = take_away, .must_go_on = true},
                        {.name = "record", .run = record, .must_go_on = true}},
              .on_failure = destroy_copy};
    kind.cleans_until_done = true;
    return kind;
}

}  // namespace understudy::tasks
