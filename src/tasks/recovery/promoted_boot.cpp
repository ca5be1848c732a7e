#include "tasks/recovery/promoted_boot.hpp"

#include "base/shell_word.hpp"
#include "model/json.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/drills/boot_check.hpp"
#include "tasks/drills/boot_evidence.hpp"
#include "tasks/records/recovery_records.hpp"

#include <fmt/format.h>

#include <algorithm>

// The last step of a promote, when the operator asked for it: is the VM that was started coming up?
// It is watched up to a limit. If it does not come up, evidence is kept and the task fails with the
// names of older snapshots; the VM runs on either way. A crash changes nothing about the VM: the
// step is run again and watches from the beginning.

namespace understudy::tasks {
namespace {

using nlohmann::json;

const PromoteArguments& arguments_of(Work& work) {
    return work.arguments<PromoteArguments>();
}

PromoteMemo& memo_of(Work& work) {
    return work.memo<PromoteMemo>();
}

PromoteResult& result_of(Work& work) {
    return work.result<PromoteResult>();
}

constexpr std::size_t kPointsNamed = 3;

Result<BootWatch> watch_for(Work& work, const VmId& vm, const model::Snapshot& snapshot) {
    auto& site = work.site();
    auto asked = UNDERSTUDY_VALUE(parse_boot_check(arguments_of(work).wait));
    const auto& before = memo_of(work).before;
    if (!before) return fail(ErrorKind::corrupt, "the memo does not say who owned the VM before");
    auto adapted = UNDERSTUDY_VALUE(rehearse_here(site, snapshot, before->owner));
    const auto limit = arguments_of(work).limit_ms;
    BootWatch watch;
    watch.vm = vm;
    // Its console is its users': nobody listens to it here.
    watch.check = definite(asked, adapted.has_agent, false, {});
    watch.limit =
        limit == 0 ? site.settings.drill.limit : Duration(static_cast<Duration::rep>(limit));
    watch.min_uptime = site.settings.drill.min_uptime;
    return watch;
}

// Keeps the evidence, by which an operator sees why. Says where it is, or why there is none.
std::string keep_evidence_of_promote(Work& work, const VmId& vm, const BootEvidence& evidence) {
    auto& site = work.site();
    if (!site.evidence) return "no evidence";
    auto kept = keep_boot_evidence(work, vm, site.clock.now(), evidence);
    return kept ? fmt::format("evidence in {} on {}", *kept, site.settings.node)
                : "no evidence: " + kept.error().text();
}

// The names of the newest snapshots before `snapshot`, for the error's text. Empty: there is none.
Result<std::string> older_points(Work& work, const model::Snapshot& snapshot) {
    auto all = UNDERSTUDY_VALUE(work.site().catalog.snapshots(snapshot.vm));
    const auto at = std::ranges::find(all, snapshot.id, &model::Snapshot::id);
    std::string names;
    for (auto older = at; older != all.begin() && at - older < std::ptrdiff_t{kPointsNamed};) {
        --older;
        names += (names.empty() ? "'" : ", '") + older->name + "'";
    }
    return names;
}

Result<> did_not_boot(Work& work, const model::Vm& vm, const model::Snapshot& snapshot,
                      const std::string& what, const std::string& evidence) {
    auto points = UNDERSTUDY_VALUE(older_points(work, snapshot));
    const auto word = base::shell_word(vm.name);
    const auto advice =
        points.empty()
            ? std::string("There is no older point here. Look at its console.")
            : fmt::format(
                  "Look at its console; or choose an older point ({}): `understudy vm stop "
                  "{}`, `understudy vm snapshot rollback {} POINT`, `understudy vm start "
                  "{}`.",
                  points, word, word, word);
    return fail(Error(ErrorKind::unsupported,
                      fmt::format("VM '{}' is owned and was started here, but did not come up: {}",
                                  vm.name, what))
                    .keeping(fmt::format("the VM, on snapshot '{}', and all its snapshots; {}",
                                         snapshot.name, evidence))
                    .advising(advice));
}

}  // namespace

Result<> see_it_boot(Work& work) {
    auto& result = result_of(work);
    result = memo_of(work).result_before_boot_check.value_or(PromoteResult{});
    if (!arguments_of(work).check || !result.started.value_or(false)) return {};
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(arguments_of(work).vm));
    auto snapshot = UNDERSTUDY_VALUE(site.catalog.snapshot(arguments_of(work).snapshot));
    auto watch = UNDERSTUDY_VALUE(watch_for(work, vm.id, snapshot));
    std::string screen;
    watch.look = [&] {
        auto picture = site.hypervisor.screenshot(vm.id);
        if (picture) screen = std::move(*picture);  // else the picture before stays
    };
    std::string console;
    auto outcome = watch_boot(work, watch, console);
    const bool enough = !outcome && outcome.error().kind() == ErrorKind::cancelled;
    if (enough && !work.stopping()) {
        work.log("the task does not watch it any more; the VM continues to run");
        work.ignore_cancel();
        return {};
    }
    if (!outcome) return error_of(outcome);
    work.log(outcome->text);
    result.checked = outcome->text;
    if (outcome->booted) {
        result.rto_ms = (site.clock.now() - work.task().created).count();
        return {};
    }
    watch.look();
    const json report{{"vm", vm.id.text()},
                      {"vm_name", vm.name},
                      {"snapshot", snapshot},
                      {"task", work.task().id.text()},
                      {"check", to_words(watch.check)},
                      {"passed", false},
                      {"outcome", outcome->text}};
    const auto evidence = keep_evidence_of_promote(work, vm.id, {report, screen, {}});
    return did_not_boot(work, vm, snapshot, outcome->text, evidence);
}

}  // namespace understudy::tasks
