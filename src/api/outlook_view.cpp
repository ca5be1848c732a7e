#include "api/outlook_view.hpp"

#include "api/views.hpp"
#include "base/shell_word.hpp"
#include "engine/outlook.hpp"
#include "model/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace understudy::api {
namespace {

using nlohmann::json;

Duration rpo_target(const tasks::Site& site, const model::Vm& vm) {
    const auto& settings = site.settings.recovery;
    for (const auto& name : {vm.name, vm.id.text()})
        if (const auto own = settings.rpo_targets.find(name); own != settings.rpo_targets.end())
            return own->second;
    return settings.rpo_target;
}

engine::ReplicaStatus replica_status(const json& view) {
    engine::ReplicaStatus known;
    known.name = view.at("name");
    known.target = Duration(view.at("rpo_target_ms").get<std::int64_t>());
    if (!view.at("age_ms").is_null()) known.age = Duration(view.at("age_ms").get<std::int64_t>());
    for (const auto& issue : view.at("readiness"))
        if (issue.at("severity") == "blocks") known.blocked.push_back(issue.at("key"));
    if (const auto& done = view.at("verified"); done.is_object()) known.equal = done.at("equal");
    if (const auto& done = view.at("drilled"); done.is_object()) {
        known.boots = done.at("passed").get<bool>();
        known.ready = Duration(done.at("ready_ms").get<std::int64_t>());
    }
    return known;
}

// One command, the most urgent one; empty: there is nothing to do.
std::string what_next(const json& view, const engine::ReplicaStatus& known) {
    const auto vm = base::shell_word(view.at("name").get<std::string>());
    const auto owner = view.at("owner_name").get<std::string>();
    if (!known.age || known.is_late())
        return fmt::format("on {}: understudy vm snapshot send {}", owner, vm);
    for (const auto& key : known.blocked)
        if (key.starts_with("network:"))
            return fmt::format("understudy peer map {} network {}=HERE", base::shell_word(owner),
                               base::shell_word(key.substr(key.find(':') + 1)));
    if (known.equal == false) return fmt::format("understudy replica verify {} --repair", vm);
    if (!known.blocked.empty() || known.boots == false)
        return fmt::format("understudy replica info {}", vm);
    if (!known.boots) return fmt::format("understudy replica drill {}", vm);
    if (!known.equal) return fmt::format("understudy replica verify {}", vm);
    return "";
}

// What is on its way to it; null: nothing.
json arriving(const std::vector<model::Transfer>& transfers, const VmId& vm) {
    for (const auto& transfer : transfers)
        if (transfer.request.vm == vm)
            return {{"snapshot", transfer.request.snapshot.name},
                    {"received_bytes", transfer.received},
                    {"updated", base::format_time(transfer.updated)}};
    return nullptr;
}

// What is no replica, and somebody has still to decide about.
json unsettled_view(tasks::Site& site, const model::Vm& vm) {
    const auto word = base::shell_word(vm.name);
    const bool superseded = vm.ownership.phase == model::Phase::superseded;
    return {{"id", vm.id.text()},
            {"name", vm.name},
            {"state", model::to_string(vm.ownership.phase)},
            {"ownership", vm.ownership},
            {"owner_name", tasks::cluster_name(site, vm.ownership.owner)},
            {"next", superseded ? fmt::format("understudy replica resolve {} --keep-there", word)
                                : std::string("understudy task list")}};
}

json summary_view(const std::string& peer, const std::vector<engine::ReplicaStatus>& replicas) {
    const auto seen = engine::outlook(peer, replicas);
    const auto ms = [](const std::optional<Duration>& time) {
        return time ? json(time->count()) : json(nullptr);
    };
    return {{"peer", peer},
            {"all", seen.all},
            {"come_back", seen.come_back},
            {"worst_loss_ms", ms(seen.worst_loss)},
            {"slowest_ms", ms(seen.slowest)},
            {"undrilled", seen.undrilled},
            {"late", seen.late},
            {"text", seen.text}};
}

}  // namespace

Result<json> replicas_at_a_glance(tasks::Site& site) {
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    auto replicas = json::array();
    auto unsettled = json::array();
    std::map<std::string, std::vector<engine::ReplicaStatus>> by_peer;
    for (const auto& vm : vms) {
        if (vm.ownership.phase == model::Phase::owned) continue;
        if (vm.ownership.phase != model::Phase::replica) {
            unsettled.push_back(unsettled_view(site, vm));
            continue;
        }
        auto view = replica_view(site, vm);
        if (!view) return view;
        (*view)["rpo_target_ms"] = rpo_target(site, vm).count();
        const auto known = replica_status(*view);
        (*view)["state"] = "replica";
        (*view)["late"] = known.is_late();
        (*view)["arriving"] = arriving(transfers, vm.id);
        (*view)["next"] = what_next(*view, known);
        by_peer[view->at("owner_name").get<std::string>()].push_back(known);
        replicas.push_back(std::move(*view));
    }
    auto summary = json::array();
    for (const auto& [peer, all] : by_peer) summary.push_back(summary_view(peer, all));
    return json{{"replicas", std::move(replicas)},
                {"unsettled", std::move(unsettled)},
                {"summary", std::move(summary)}};
}

}  // namespace understudy::api
