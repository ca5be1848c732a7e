#include "tasks/owners/roles.hpp"

#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/queue/events.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace understudy::tasks {
namespace {

Result<> may_start(Site& site, const model::Vm& vm, const model::Ownership& ownership) {
    return engine::may_start(ownership, site.cluster.id, vm.name,
                             cluster_name(site, ownership.owner));
}

}  // namespace

Result<> change_role(Site& site, const model::Vm& vm, const model::Ownership& next,
                     std::string_view actor) {
    if (!engine::is_transition(vm.ownership, next, site.cluster.id))
        base::broken_invariant("no rule allows this change of owner", __FILE__, __LINE__);
    const auto startable = may_start(site, vm, next);
    if (site.guard && !startable)
        UNDERSTUDY_TRY(site.guard->forbid(vm.id, startable.error().text()));
    const auto text = fmt::format(
        "{}: {} at epoch {} here ({} before), '{}' owns it", vm.name, model::to_string(next.phase),
        next.epoch, model::to_string(vm.ownership.phase), cluster_name(site, next.owner));
    auto changed = site.catalog.set_ownership(vm.id, vm.ownership, next,
                                              new_event(site, actor, "role", vm.id, text));
    if (!changed && changed.error().kind() == ErrorKind::conflict) {
        // A handover and the task that it has queued record the same; either may be the first.
        auto now = UNDERSTUDY_VALUE(site.catalog.vm(vm.id));
        if (now.ownership != next) return changed;
    } else {
        UNDERSTUDY_TRY(std::move(changed));
        spdlog::info("{}", text);
    }
    if (site.guard && startable) return site.guard->allow(vm.id);
    return {};
}

Result<> refresh_guard(Site& site) {
    if (!site.guard) return {};
    auto forbidden = UNDERSTUDY_VALUE(site.guard->forbidden());
    for (const auto& id : forbidden) {
        auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
        if (!vm || may_start(site, *vm, vm->ownership)) UNDERSTUDY_TRY(site.guard->allow(id));
    }
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    for (const auto& vm : vms) {
        const auto startable = may_start(site, vm, vm.ownership);
        if (!startable) UNDERSTUDY_TRY(site.guard->forbid(vm.id, startable.error().text()));
    }
    return {};
}

}  // namespace understudy::tasks
