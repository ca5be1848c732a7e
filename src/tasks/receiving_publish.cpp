#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "tasks/receiving.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

// How a whole transfer becomes a snapshot of this cluster's catalog.

namespace understudy::tasks {
namespace {

// Names are for people, and each side keeps and removes its own snapshots: one here may have the
// name that the source has given anew. The received one is then called NAME~ID.
Result<std::string> free_name(Site& site, const model::Snapshot& snapshot) {
    auto here = site.catalog.snapshots(snapshot.vm);
    if (!here) return std::unexpected(std::move(here.error()));
    const bool taken = std::any_of(here->begin(), here->end(), [&](const auto& other) {
        return other.name == snapshot.name && other.id != snapshot.id;
    });
    return taken ? fmt::format("{}~{}", snapshot.name, snapshot.id.text().substr(0, 8))
                 : snapshot.name;
}

// The source's base moves to what it sent, unless that is an older snapshot sent late: then the
// source keeps the newer one as base, and so does this side.
Result<std::vector<model::Hold>> base_hold(Site& site, const ClusterId& source,
                                           const model::Snapshot& received) {
    const model::Hold base{received.id, model::HoldKind::base, source.text()};
    auto holds = site.catalog.holds(received.vm);
    if (!holds) return std::unexpected(std::move(holds.error()));
    auto snapshots = site.catalog.snapshots(received.vm);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    snapshots->push_back(received);
    for (const auto& hold : *holds)
        if (hold.kind == model::HoldKind::base && hold.detail == base.detail &&
            engine::is_newer(*snapshots, hold.snapshot, received.id))
            return std::vector<model::Hold>{};
    return std::vector{base};
}

}  // namespace

Result<> Receiving::publish(const model::Transfer& transfer) {
    const auto& request = transfer.request;
    model::Vm vm;
    vm.id = request.vm;
    vm.name = request.vm_name;
    vm.ownership = engine::replica_of(request.ownership);
    vm.disks = vm_disks(request.snapshot.disks);
    auto snapshot = request.snapshot;
    auto name = free_name(site_, snapshot);
    if (!name) return std::unexpected(std::move(name.error()));
    snapshot.name = std::move(*name);
    if (snapshot.parent) {  // lineage by what is here: the base it was made on
        auto parent = site_.catalog.find_snapshot(*snapshot.parent);
        if (!parent) return std::unexpected(std::move(parent.error()));
        if (!*parent) snapshot.parent = request.base;
    }
    auto holds = base_hold(site_, transfer.source, snapshot);
    if (!holds) return std::unexpected(std::move(holds.error()));
    return site_.catalog.publish_snapshot(vm, snapshot, request.definition, *holds, transfer.id);
}

}  // namespace understudy::tasks
