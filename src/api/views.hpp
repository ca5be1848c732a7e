#pragma once

#include "tasks/queue/site.hpp"

#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace understudy::api {

// What an operator's word names, and the JSON of things in the operators' API (OPERATORS.md).

Result<model::Peer> find_peer(tasks::Site& site, const std::string& word);
// By name or UUID, among libvirt's VMs and the catalog's. not_found: the text says how to list
// them. invalid: several have that name, such as a VM here and a replica; the text has their ids.
Result<VmId> find_vm(tasks::Site& site, const std::string& word);
// A replica, if one has that name; else as find_vm.
Result<VmId> find_replica(tasks::Site& site, const std::string& word);
// refused, with the advice: it is no replica (any more).
Result<model::Vm> kept_replica(tasks::Site& site, const std::string& word,
                               const std::string& advice);
Result<model::Snapshot> find_snapshot(tasks::Site& site, const VmId& vm, const std::string& word);
// A snapshot of a replica. "" and "@newest" are the point that the replica would go on from
// (tasks::newest_point).
Result<model::Snapshot> find_point(tasks::Site& site, const model::Vm& replica,
                                   const std::string& word);
// Whether a new VM may have this name, which is not empty. invalid: it is no VM's name. conflict:
// a VM here has it.
Result<> check_new_name(tasks::Site& site, const std::string& name);
Result<model::Task> find_task(tasks::Site& site, const std::string& word);

Result<nlohmann::json> vm_views(tasks::Site& site);
Result<nlohmann::json> vm_view(tasks::Site& site, const VmId& vm);  // one line of the list
Result<nlohmann::json> vm_details(tasks::Site& site, const VmId& vm);
Result<nlohmann::json> snapshot_view(tasks::Site& site, const model::Snapshot& snapshot);
Result<nlohmann::json> snapshot_views(tasks::Site& site, const VmId& vm);
Result<nlohmann::json> replica_view(tasks::Site& site, const model::Vm& vm);
Result<nlohmann::json> replica_details(tasks::Site& site, const VmId& vm);
nlohmann::json task_view(const model::Task& task);
// What a promote to this snapshot would do and lose.
Result<nlohmann::json> promotion_view(tasks::Site& site, const model::Vm& vm,
                                      const model::Snapshot& snapshot);

}  // namespace understudy::api
