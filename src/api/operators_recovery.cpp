#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/kinds.hpp"
#include "tasks/send_parts.hpp"

#include <fmt/format.h>

// Calls about which cluster runs a VM: moving it, and settling two lines of it.

namespace understudy::api {
namespace {

using nlohmann::json;

// What a move would send before it stops the guest. What is written from now on comes on top.
Result<Reply> preview(const Asked& asked, const model::Vm& vm, const model::Peer& peer,
                      const std::vector<std::string>& accept, Duration limit) {
    auto& site = asked.site();
    auto snapshots = site.catalog.snapshots(vm.id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    json plan{{"vm", vm.name},          {"peer", peer.name},         {"newest", nullptr},
              {"kind", "full"},         {"limit_ms", limit.count()}, {"bytes", nullptr},
              {"issues", json::array()}};
    if (!snapshots->empty()) {
        const auto& newest = snapshots->back();
        auto planned = tasks::plan_send_here(site, {vm.id, newest.id, peer.id, false, {}, accept});
        if (!planned) return std::unexpected(std::move(planned.error()));
        auto estimates = tasks::estimate_send(site, *planned, peer.id);
        if (!estimates) return std::unexpected(std::move(estimates.error()));
        ByteSize bytes;
        for (const auto& disk : *estimates) bytes += disk.data;
        plan["newest"] = newest;
        plan["kind"] = std::string(engine::to_string(planned->plan.kind));
        plan["bytes"] = bytes;
        plan["issues"] = planned->issues;
    }
    auto sent = site.catalog.replications(vm.id);
    if (!sent) return std::unexpected(std::move(sent.error()));
    for (const auto& replication : *sent) {
        const auto readiness = json::parse(replication.readiness, nullptr, false);
        if (replication.peer == peer.id && readiness.is_array())
            for (const auto& issue : readiness) plan["issues"].push_back(issue);
    }
    return Reply{200, {{"plan", std::move(plan)}}};
}

Result<model::Vm> vm_to_move(tasks::Site& site, const VmId& id) {
    auto known = site.catalog.find_vm(id);
    if (!known) return std::unexpected(std::move(known.error()));
    if (*known) {
        UNDERSTUDY_TRY(engine::may_start((*known)->ownership, site.cluster.id, (*known)->name,
                                         tasks::cluster_name(site, (*known)->ownership.owner)));
        return std::move(**known);
    }
    auto described = site.hypervisor.describe(id);
    if (!described) return std::unexpected(std::move(described.error()));
    model::Vm vm;
    vm.id = id;
    vm.name = described->summary.name;
    return vm;
}

Result<Reply> move(const Asked& asked) {
    auto& site = asked.site();
    auto id = find_vm(site, asked.path[1]);
    if (!id) return std::unexpected(std::move(id.error()));
    auto vm = vm_to_move(site, *id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto peer_word = text_field(asked.body, "peer");
    auto start = flag_field(asked.body, "start", true);
    auto dry_run = flag_field(asked.body, "dry_run", false);
    auto force_off = flag_field(asked.body, "force_off", false);
    auto limit = shutdown_limit(asked.body);
    auto rate = number_field(asked.body, "rate_bytes", 0);
    auto accept = texts_field(asked.body, "accept");
    if (!peer_word) return std::unexpected(std::move(peer_word.error()));
    if (!start) return std::unexpected(std::move(start.error()));
    if (!dry_run) return std::unexpected(std::move(dry_run.error()));
    if (!force_off) return std::unexpected(std::move(force_off.error()));
    if (!limit) return std::unexpected(std::move(limit.error()));
    if (!rate) return std::unexpected(std::move(rate.error()));
    if (!accept) return std::unexpected(std::move(accept.error()));
    auto peer = find_peer(site, *peer_word);
    if (!peer) return std::unexpected(std::move(peer.error()));
    if (*dry_run) return preview(asked, *vm, *peer, *accept, *limit);
    return queue(asked, tasks::kMove, *id, fmt::format("move {} to {}", vm->name, peer->name),
                 {{"vm", id->text()},
                  {"peer", peer->id.text()},
                  {"start", *start},
                  {"limit_ms", limit->count()},
                  {"force_off", *force_off},
                  {"rate_bytes", *rate},
                  {"accept", *accept}});
}

Result<Reply> resolve(const Asked& asked) {
    auto& site = asked.site();
    auto id = find_replica(site, asked.path[1]);
    if (!id) return std::unexpected(std::move(id.error()));
    auto vm = site.catalog.vm(*id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto keep = text_field(asked.body, "keep");
    auto start = flag_field(asked.body, "start", true);
    auto force = flag_field(asked.body, "even_if_owner_runs", false);
    if (!keep) return std::unexpected(std::move(keep.error()));
    if (!start) return std::unexpected(std::move(start.error()));
    if (!force) return std::unexpected(std::move(force.error()));
    if (*keep != "here" && *keep != "there")
        return fail(ErrorKind::invalid, "keep is \"here\" or \"there\"");
    const bool lost_on_its_way =
        vm->ownership.phase == model::Phase::handing_over && *keep == "here";
    if (vm->ownership.phase != model::Phase::superseded && !lost_on_its_way)
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' is not superseded here: there is nothing to resolve",
                                      vm->name))
                        .advising("`understudy vm list` shows who owns it."));
    return queue(
        asked, tasks::kResolve, *id,
        fmt::format("resolve {}: keep what is {}", vm->name,
                    *keep == "here" ? "here" : "on its owner"),
        {{"vm", id->text()}, {"keep", *keep}, {"start", *start}, {"even_if_owner_runs", *force}});
}

}  // namespace

Answer answer_recovery(const Asked& asked) {
    if (asked.path.size() != 3 || asked.request.method != "POST") return std::nullopt;
    if (asked.path[0] == "vms" && asked.path[2] == "move") return move(asked);
    if (asked.path[0] == "replicas" && asked.path[2] == "resolve") return resolve(asked);
    return std::nullopt;
}

}  // namespace understudy::api
