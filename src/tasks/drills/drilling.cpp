#include "tasks/drills/drilling.hpp"

#include "tasks/queue/kind_names.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/queue/turns.hpp"
#include "tasks/records/drill_records.hpp"

#include <fmt/format.h>

namespace understudy::tasks {

model::Task new_drill(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                      const DrillWishes& wishes) {
    return new_task(
        site, kReplicaDrill, vm.id, fmt::format("drill {}@{}", vm.name, snapshot.name),
        ReplicaDrillArguments{.vm = vm.id,
                              .snapshot = snapshot.id,
                              .wait = wishes.wait,
                              .limit_ms = static_cast<std::uint64_t>(wishes.limit.count()),
                              .network = wishes.network});
}

VmId rehearsal_of(const TaskId& task) {
    return VmId(task.bytes());
}

Result<std::set<VmId>> rehearsals(Site& site) {
    auto active = UNDERSTUDY_VALUE(site.catalog.active_tasks(std::nullopt));
    std::set<VmId> all;
    for (const auto& task : active)
        if (task.kind == kReplicaDrill) all.insert(rehearsal_of(task.id));
    return all;
}

Result<> cancel_drills(Site& site, const VmId& vm) {
    return cancel_tasks(site, vm, kReplicaDrill);
}

Result<> check_no_drill(Site& site, const VmId& vm) {
    const auto drill = UNDERSTUDY_VALUE(find_in_the_way(site, vm, Asker::mending, std::nullopt));
    if (!drill) return {};
    return fail(Error(ErrorKind::conflict, fmt::format("'{}' is not finished", drill->task.title))
                    .advising(fmt::format("`understudy task cancel {}` ends it.",
                                          drill->task.id.text().substr(0, 8))));
}

}  // namespace understudy::tasks
