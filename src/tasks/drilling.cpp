#include "tasks/drilling.hpp"

#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/runner.hpp"

#include <fmt/format.h>

namespace understudy::tasks {

model::Task new_drill(Site& site, const model::Vm& vm, const model::Snapshot& snapshot,
                      const DrillWishes& wishes) {
    return new_task(site, kReplicaDrill, vm.id, fmt::format("drill {}@{}", vm.name, snapshot.name),
                    {{"vm", vm.id.text()},
                     {"snapshot", snapshot.id.text()},
                     {"wait", wishes.wait},
                     {"limit_ms", wishes.limit.count()},
                     {"network", wishes.network}});
}

VmId rehearsal_of(const TaskId& task) {
    return VmId(task.bytes());
}

Result<std::set<VmId>> rehearsals(Site& site) {
    auto active = site.catalog.tasks({std::nullopt, true, 10'000});
    if (!active) return std::unexpected(std::move(active.error()));
    std::set<VmId> all;
    for (const auto& task : *active)
        if (task.kind == kReplicaDrill) all.insert(rehearsal_of(task.id));
    return all;
}

bool is_drill_begun(const model::Task& task) {
    if (task.kind != kReplicaDrill) return false;
    const auto memo = nlohmann::json::parse(task.memo, nullptr, false);
    return memo.is_object() && flag_in(memo, kBegun);
}

Result<> cancel_drills(Site& site, const VmId& vm) {
    auto active = site.catalog.tasks({vm, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active) {
        if (task.kind != kReplicaDrill) continue;
        auto asked = site.catalog.request_cancel(task.id, site.clock.now());
        if (!asked && asked.error().kind() != ErrorKind::conflict)  // it has just ended
            return asked;
    }
    return {};
}

Result<> check_no_drill(Site& site, const VmId& vm) {
    auto active = site.catalog.tasks({vm, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (is_drill_begun(task))
            return fail(Error(ErrorKind::conflict, fmt::format("'{}' is not finished", task.title))
                            .advising(fmt::format("`understudy task cancel {}` ends it.",
                                                  task.id.text().substr(0, 8))));
    return {};
}

}  // namespace understudy::tasks
