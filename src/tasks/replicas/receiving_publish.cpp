#include "engine/ownership.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/replicas/incoming_rules.hpp"
#include "tasks/replicas/receiving.hpp"

// How a whole transfer becomes a snapshot of this cluster's catalog.

namespace understudy::tasks {
Result<> Receiving::publish(const model::Transfer& transfer) {
    const auto& request = transfer.request;
    model::Vm vm;
    vm.id = request.vm;
    vm.name = request.vm_name;
    vm.ownership = engine::replica_of(request.ownership);
    vm.disks = vm_disks(request.snapshot.disks);
    auto snapshot = UNDERSTUDY_VALUE(as_listed_here(site_, request.snapshot, request.base));
    auto holds = UNDERSTUDY_VALUE(base_hold(site_, transfer.source, snapshot));
    UNDERSTUDY_TRY(
        site_.catalog.publish_snapshot(vm, snapshot, request.definition, holds, transfer.id));
    return note_holders(site_, vm.id, request.holders);  // else with the next exchange
}

}  // namespace understudy::tasks
