#include "api/move_preview.hpp"

#include "model/json.hpp"
#include "tasks/kinds.hpp"
#include "tasks/queue/parts.hpp"
#include "tasks/records/recovery_records.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/replicas/send_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

// What a move would send, and how long the VM would be down: in the order of move_preview(), the
// rate of the last large send to that peer, the plan of sending the newest snapshot, what the heads
// hold since, the time that follows from these, and the last measured downtime. Rate and downtime
// come from the newest 1000 tasks. The plan asks the peer, and what it says about owners is applied
// here as at any contact; nothing else is changed.

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr int kTasksLookedAt = 1000;
constexpr ByteSize kTelling = base::MiB(16);  // a smaller send measures the delay, not the rate

// Bytes per second. Null: none of the newest tasks is a large send to that peer.
Result<json> measured_rate(tasks::Site& site, const ClusterId& peer) {
    auto tasks = site.catalog.tasks({.limit = kTasksLookedAt});
    if (!tasks) return error_of(tasks);
    for (const auto& task : *tasks) {  // the newest first
        if (task.kind != tasks::kSend || task.state != model::TaskState::succeeded) continue;
        const auto arguments = tasks::arguments_in<tasks::SendArguments>(task);
        if (!arguments || arguments->peer != peer) continue;
        const auto result = tasks::result_in<tasks::SendResult>(task);
        if (!result) continue;
        const auto bytes = result->bytes.value_or(0);
        const auto seconds = result->seconds.value_or(0);
        if (bytes < kTelling.count() || seconds <= 0) continue;
        return json(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds));
    }
    return json(nullptr);
}

// {"downtime_ms", "moved"} of the last move of this VM that was measured; nulls if there is none.
Result<json> last_move(tasks::Site& site, const VmId& vm) {
    auto tasks = site.catalog.tasks({.vm = vm, .limit = kTasksLookedAt});
    if (!tasks) return error_of(tasks);
    for (const auto& task : *tasks) {
        if (task.kind != tasks::kMove || task.state != model::TaskState::succeeded) continue;
        const auto result = tasks::result_in<tasks::MoveResult>(task);
        if (!result || !result->downtime_ms || !task.ended) continue;
        return json{{"downtime_ms", *result->downtime_ms},
                    {"moved", base::format_time(*task.ended)}};
    }
    return json{{"downtime_ms", nullptr}, {"moved", nullptr}};
}

// How many bytes the heads hold beyond the newest snapshot. Null, because it is not known: a disk
// was added or removed since, the VM was rolled back, or counting would take long.
Result<json> unsent(tasks::Site& site, const model::Vm& vm, const model::Snapshot& newest,
                    std::size_t disks_now) {
    if (vm.head_parent != newest.id || disks_now != vm.disks.size()) return json(nullptr);
    ByteSize own;
    for (const auto& disk : vm.disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto one = pool->head_own(disk.volume, newest.id);
        if (!one) return fail(std::move(one.error()).during(disk.target));
        if (!*one) return json(nullptr);
        own += **one;
    }
    return json(own);
}

Result<> add_sends(tasks::Site& site, const MoveWishes& wishes, const model::Snapshot& newest,
                   std::size_t disks_now, json& plan) {
    auto planned = UNDERSTUDY_VALUE(tasks::preview_send(site, {.vm = wishes.vm.id,
                                                               .snapshot = newest.id,
                                                               .peer = wishes.peer.id,
                                                               .full = false,
                                                               .base = {},
                                                               .accept = wishes.accept}));
    auto estimates = UNDERSTUDY_VALUE(tasks::estimate_send(site, planned, wishes.peer.id));
    ByteSize bytes;
    for (const auto& disk : estimates) bytes += disk.data;
    auto since = UNDERSTUDY_VALUE(unsent(site, wishes.vm, newest, disks_now));
    plan["newest"] = newest;
    plan["kind"] = std::string(engine::to_string(planned.plan.kind));
    plan["bytes"] = bytes;
    plan["issues"] = planned.issues;
    plan["unsent_bytes"] = since;
    if (since.is_null()) return {};
    plan["expected_bytes"] = bytes.count() + since.get<std::uint64_t>();
    return {};
}

// If the operator gives a limit, the rate is at most that.
void add_times(const MoveWishes& wishes, json& plan) {
    auto& rate = plan["rate_bytes"];
    if (rate.is_null() || plan["expected_bytes"].is_null()) return;
    auto per_second = rate.get<std::uint64_t>();
    if (wishes.rate_bytes != 0) per_second = std::min(per_second, wishes.rate_bytes);
    rate = per_second;
    const auto bytes = plan["expected_bytes"].get<std::uint64_t>();
    plan["send_ms"] = static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000 /
                                                 static_cast<double>(std::max(per_second, 1UL)));
}

}  // namespace

Result<json> move_preview(tasks::Site& site, const MoveWishes& wishes) {
    json plan{{"vm", wishes.vm.name},    {"peer", wishes.peer.name},         {"newest", nullptr},
              {"kind", "full"},          {"limit_ms", wishes.limit.count()}, {"bytes", nullptr},
              {"unsent_bytes", nullptr}, {"expected_bytes", nullptr},        {"send_ms", nullptr},
              {"issues", json::array()}};
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(wishes.vm.id));
    auto rate = measured_rate(site, wishes.peer.id);
    if (!rate) return rate;
    plan["rate_bytes"] = *rate;
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(wishes.vm.id));
    plan["running"] = described.summary.state != ports::VmState::stopped;
    if (!snapshots.empty())
        UNDERSTUDY_TRY(add_sends(site, wishes, snapshots.back(), described.disks.size(), plan));
    add_times(wishes, plan);
    auto before = last_move(site, wishes.vm.id);
    if (!before) return before;
    plan.update(*before);
    auto sent = UNDERSTUDY_VALUE(site.catalog.replications(wishes.vm.id));
    for (const auto& replication : sent) {
        const auto readiness = json::parse(replication.readiness, nullptr, false);
        if (replication.peer == wishes.peer.id && readiness.is_array())
            for (const auto& issue : readiness) plan["issues"].push_back(issue);
    }
    return plan;
}

}  // namespace understudy::api
