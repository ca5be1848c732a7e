#include "api/move_preview.hpp"
#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/kinds.hpp"
#include "tasks/records/file_records.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/replicas/send_parts.hpp"

#include <fmt/format.h>

// Calls about which cluster runs a VM: `move` to a peer, and `resolve` of a VM with two lines. Both
// check the request and queue a task. A move with dry_run answers with move_preview instead. If
// there is nothing to resolve here but as_new_vm is given, the new VM is an import of the newest
// branch that is held. The ids of a new VM and its snapshot are chosen here and stand in the task's
// arguments, so that every attempt uses the same ones.

namespace understudy::api {
namespace {

using nlohmann::json;

Result<model::Vm> vm_to_move(tasks::Site& site, const VmId& id) {
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (known) {
        UNDERSTUDY_TRY(engine::may_start(known->ownership, site.cluster.id, known->name,
                                         tasks::cluster_name(site, known->ownership.owner)));
        return std::move(*known);
    }
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(id));
    model::Vm vm;
    vm.id = id;
    vm.name = described.summary.name;
    return vm;
}

Result<Reply> move(const Asked& asked) {
    auto& site = asked.site();
    auto id = UNDERSTUDY_VALUE(find_vm(site, asked.path[1]));
    auto vm = UNDERSTUDY_VALUE(vm_to_move(site, id));
    auto peer_word = text_field(asked.body, "peer");
    auto start = flag_field(asked.body, "start", true);
    auto dry_run = flag_field(asked.body, "dry_run", false);
    auto force_off = flag_field(asked.body, "force_off", false);
    auto limit = shutdown_limit(asked.body);
    auto rate = number_field(asked.body, "rate_bytes", 0);
    auto accept = texts_field(asked.body, "accept");
    if (!peer_word) return error_of(peer_word);
    if (!start) return error_of(start);
    if (!dry_run) return error_of(dry_run);
    if (!force_off) return error_of(force_off);
    if (!limit) return error_of(limit);
    if (!rate) return error_of(rate);
    if (!accept) return error_of(accept);
    auto peer = UNDERSTUDY_VALUE(find_peer(site, *peer_word));
    if (*dry_run) return reply_with("plan", move_preview(site, {vm, peer, *accept, *limit, *rate}));
    return queue(asked, tasks::kMove, id, fmt::format("move {} to {}", vm.name, peer.name),
                 tasks::MoveArguments{.vm = id,
                                      .peer = peer.id,
                                      .start = *start,
                                      .limit_ms = static_cast<std::uint64_t>(limit->count()),
                                      .force_off = *force_off,
                                      .rate_bytes = *rate,
                                      .accept = *accept});
}

// Makes a new VM of the newest branch that is held of a line that was given up before.
Result<Reply> branch_as_new_vm(const Asked& asked, const model::Vm& vm,
                               const tasks::ResolveArguments& wanted) {
    auto& site = asked.site();
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(vm.id));
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm.id));
    std::optional<model::Snapshot> branch;  // the newest one
    for (const auto& snapshot : snapshots)
        for (const auto& hold : holds)
            if (hold.snapshot == snapshot.id && hold.kind == model::HoldKind::branch)
                branch = snapshot;
    if (!branch)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' is not superseded here, and no branch of it is kept",
                                      vm.name))
                        .advising("`understudy vm list` shows who owns it."));
    return queue(asked, tasks::kSnapshotImport, *wanted.new_vm,
                 fmt::format("make {} of {}@{}", wanted.as_new_vm, vm.name, branch->name),
                 tasks::SnapshotImportArguments{.vm = *wanted.new_vm,
                                                .of = branch->id,
                                                .name = wanted.as_new_vm,
                                                .snapshot = wanted.new_snapshot,
                                                .accept = wanted.accept,
                                                .start = wanted.start_new_vm});
}

// Adds the new VM's arguments. If no new VM is asked for, nothing is added.
Result<> add_new_vm_wishes(const Asked& asked, tasks::ResolveArguments& arguments) {
    auto& site = asked.site();
    auto name = UNDERSTUDY_VALUE(text_field(asked.body, "as_new_vm"));
    if (!asked.body.contains("as_new_vm")) return {};
    if (name.empty()) return fail(ErrorKind::invalid, "as_new_vm is a VM's name");
    if (arguments.keep != "there")
        return fail(ErrorKind::invalid, "as_new_vm can be used only with \"keep\": \"there\"");
    UNDERSTUDY_TRY(check_new_name(site, name));
    auto accept = UNDERSTUDY_VALUE(texts_field(asked.body, "accept"));
    auto start = UNDERSTUDY_VALUE(flag_field(asked.body, "start_new_vm", false));
    arguments.as_new_vm = name;
    arguments.start_new_vm = start;
    arguments.new_vm = site.random.id<VmId>();
    arguments.new_snapshot = site.random.id<SnapshotId>();
    arguments.accept = accept;
    return {};
}

Result<Reply> resolve(const Asked& asked) {
    auto& site = asked.site();
    auto id = UNDERSTUDY_VALUE(find_replica(site, asked.path[1]));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
    auto keep = text_field(asked.body, "keep");
    auto start = flag_field(asked.body, "start", true);
    auto force = flag_field(asked.body, "even_if_owner_runs", false);
    if (!keep) return error_of(keep);
    if (!start) return error_of(start);
    if (!force) return error_of(force);
    if (*keep != "here" && *keep != "there")
        return fail(ErrorKind::invalid, "keep is \"here\" or \"there\"");
    tasks::ResolveArguments arguments{
        .vm = id, .keep = *keep, .start = *start, .even_if_owner_runs = *force};
    UNDERSTUDY_TRY(add_new_vm_wishes(asked, arguments));
    const bool is_settled =
        vm.ownership.phase == model::Phase::replica || vm.ownership.phase == model::Phase::owned;
    if (is_settled && arguments.new_vm) return branch_as_new_vm(asked, vm, arguments);
    const bool lost_on_its_way =
        vm.ownership.phase == model::Phase::handing_over && *keep == "here";
    if (vm.ownership.phase != model::Phase::superseded && !lost_on_its_way)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' is not superseded here: there is nothing to resolve",
                                      vm.name))
                        .advising("`understudy vm list` shows who owns it."));
    return queue(asked, tasks::kResolve, id,
                 fmt::format("resolve {}: the line {} continues", vm.name,
                             *keep == "here" ? "here" : "on its owner"),
                 arguments);
}

}  // namespace

Answer answer_recovery(const Asked& asked) {
    if (asked.path.size() != 3 || asked.request.method != "POST") return std::nullopt;
    if (asked.path[0] == "vms" && asked.path[2] == "move") return move(asked);
    if (asked.path[0] == "replicas" && asked.path[2] == "resolve") return resolve(asked);
    return std::nullopt;
}

}  // namespace understudy::api
