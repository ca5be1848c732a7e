#include "api/views.hpp"

#include "model/json.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/drilling.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

// How VMs, snapshots, tasks and replicas look in the operators' API: JSON from the catalog, libvirt
// and the pools, as they are at the time of the call. Nothing is changed or kept. If a definition
// cannot be adapted to this host, or a pool does not tell a disk's size, only that part of the
// answer says so or is null.

namespace understudy::api {
namespace {

using nlohmann::json;

std::string_view word(ports::VmState state) {
    switch (state) {
        case ports::VmState::running: return "running";
        case ports::VmState::paused: return "paused";
        case ports::VmState::stopped: return "stopped";
    }
    return "";
}

Result<json> view_of(tasks::Site& site, const std::optional<ports::VmSummary>& listed,
                     const std::optional<model::Vm>& known) {
    json view{{"id", listed ? listed->id.text() : known->id.text()},
              {"name", listed ? listed->name : known->name},
              {"state", listed ? std::string(word(listed->state)) : "undefined"},
              {"ownership", nullptr},
              {"owner_name", ""},
              {"autostart", listed && listed->autostart},
              {"snapshots", 0},
              {"newest", nullptr}};
    if (!known) return view;
    view["ownership"] = known->ownership;
    view["owner_name"] = tasks::cluster_name(site, known->ownership.owner);
    view["autostart"] = known->autostart || (listed && listed->autostart);
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(known->id));
    view["snapshots"] = snapshots.size();
    if (!snapshots.empty()) view["newest"] = base::format_time(snapshots.back().taken);
    return view;
}

Result<std::optional<ports::VmSummary>> summary_of(tasks::Site& site, const VmId& id) {
    auto listed = UNDERSTUDY_VALUE(site.hypervisor.list());
    for (auto& vm : listed)
        if (vm.id == id) return std::move(vm);
    return std::nullopt;
}

std::string hold_text(tasks::Site& site, const model::Hold& hold) {
    if (hold.kind == model::HoldKind::base) {
        auto id = ClusterId::parse(hold.detail);
        return "base for peer " + (id ? tasks::cluster_name(site, *id) : hold.detail);
    }
    if (hold.kind == model::HoldKind::transfer) return "transfer " + hold.detail.substr(0, 8);
    if (hold.kind == model::HoldKind::drill) return "drill " + hold.detail.substr(0, 8);
    if (hold.kind == model::HoldKind::branch) return "branch until epoch " + hold.detail;
    return "user " + hold.detail;
}

std::int64_t age_ms(tasks::Site& site, TimePoint taken) {
    return std::max<std::int64_t>(0, (site.clock.now() - taken).count());
}

}  // namespace

Result<json> vm_view(tasks::Site& site, const VmId& id) {
    auto listed = UNDERSTUDY_VALUE(summary_of(site, id));
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!listed && !known) return fail(ErrorKind::not_found, "no such VM");
    return view_of(site, listed, known);
}

Result<json> vm_views(tasks::Site& site) {
    auto listed = UNDERSTUDY_VALUE(site.hypervisor.list());
    auto known = UNDERSTUDY_VALUE(site.catalog.vms());
    auto copies = UNDERSTUDY_VALUE(tasks::rehearsals(site));
    std::erase_if(listed, [&](const auto& vm) { return copies.contains(vm.id); });
    std::ranges::sort(listed, {}, &ports::VmSummary::name);
    auto views = json::array();
    for (const auto& vm : listed) {
        std::optional<model::Vm> record;
        for (const auto& candidate : known)
            if (candidate.id == vm.id) record = candidate;
        auto view = view_of(site, vm, record);
        if (!view) return view;
        views.push_back(std::move(*view));
    }
    for (const auto& vm : known) {
        const bool shown = std::any_of(listed.begin(), listed.end(),
                                       [&](const auto& other) { return other.id == vm.id; });
        if (shown || vm.ownership.phase == model::Phase::replica) continue;
        auto view = view_of(site, std::nullopt, vm);
        if (!view) return view;
        views.push_back(std::move(*view));
    }
    return views;
}

namespace {

// A hypervisor does not know the size of a disk in Ceph, so its pool is asked. After a pool gave an
// error it is not asked again, and the sizes of further disks in it are null.
json disk_views(tasks::Site& site, const std::vector<ports::DiskDescription>& disks,
                const std::vector<model::VmDisk>& volumes) {
    auto views = json::array();
    std::set<std::string> silent;
    const auto size_of = [&](const ports::DiskDescription& disk) -> json {
        if (disk.source.type != "network") return disk.size;
        for (const auto& [name, pool] : site.pools) {
            if (silent.contains(name) || !pool->takes(disk.source)) continue;
            if (auto size = pool->disk_size(disk.source)) return *size;
            silent.insert(name);
        }
        return nullptr;
    };
    for (const auto& disk : disks) {
        json entry{{"target", disk.target},
                   {"source", disk.source.location},
                   {"format", disk.source.format},
                   {"size", size_of(disk)},
                   {"volume", nullptr},
                   {"pool", nullptr},
                   {"unsupported", disk.unsupported}};
        for (const auto& record : volumes)
            if (record.target == disk.target) {
                entry["volume"] = record.volume.text();
                entry["pool"] = record.pool;
            }
        views.push_back(std::move(entry));
    }
    return views;
}

}  // namespace

Result<json> vm_details(tasks::Site& site, const VmId& id) {
    auto view = vm_view(site, id);
    if (!view) return view;
    auto described = site.hypervisor.describe(id);
    if (!described && described.error().kind() != ErrorKind::not_found) return error_of(described);
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    (*view)["disks"] =
        disk_views(site, described ? described->disks : std::vector<ports::DiskDescription>{},
                   known ? known->disks : std::vector<model::VmDisk>{});
    (*view)["obstacles"] = described ? described->obstacles : std::vector<model::ReadinessIssue>{};
    auto sent = UNDERSTUDY_VALUE(site.catalog.replications(id));
    auto replications = json::array();
    for (const auto& replication : sent) {
        json entry = replication;
        entry["readiness"] = json::parse(replication.readiness, nullptr, false);
        entry["peer_name"] = tasks::cluster_name(site, replication.peer);
        entry["rpo_ms"] = age_ms(site, replication.snapshot_taken);
        replications.push_back(std::move(entry));
    }
    (*view)["replications"] = std::move(replications);
    return view;
}

namespace {

Result<json> view_of(tasks::Site& site, const model::Snapshot& snapshot,
                     const std::vector<model::Hold>& holds) {
    json view = snapshot;
    auto texts = json::array();
    for (const auto& hold : holds)
        if (hold.snapshot == snapshot.id) texts.push_back(hold_text(site, hold));
    view["holds"] = std::move(texts);
    ByteSize size;
    ByteSize own;
    for (const auto& disk : snapshot.disks) {
        size += disk.size;
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        auto stat = pool->stat(disk.volume, snapshot.id);
        if (!stat) return fail(std::move(stat.error()).during(disk.target));
        own += stat->own;
    }
    view["size"] = size;
    view["own"] = own;
    return view;
}

}  // namespace

Result<json> snapshot_view(tasks::Site& site, const model::Snapshot& snapshot) {
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(snapshot.vm));
    return view_of(site, snapshot, holds);
}

Result<json> snapshot_views(tasks::Site& site, const VmId& vm) {
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(vm));
    auto views = json::array();
    for (const auto& snapshot : snapshots) {
        auto view = view_of(site, snapshot, holds);
        if (!view) return view;
        views.push_back(std::move(*view));
    }
    return views;
}

json task_view(const model::Task& task) {
    json view = task;
    for (const char* field : {"arguments", "result"}) {
        auto object = json::parse(view[field].get_ref<const std::string&>(), nullptr, false);
        view[field] = object.is_object() ? std::move(object) : json::object();
        view[field].erase("version");  // of the row's form, not of the task
    }
    view.erase("memo");  // only for the task's own steps
    return view;
}

namespace {

json verification_view(tasks::Site& site, const model::Verification& done,
                       const std::vector<model::Snapshot>& snapshots) {
    json view = done;
    view["age_ms"] = age_ms(site, done.ended);
    view["source_name"] = tasks::cluster_name(site, done.source);
    for (const auto& snapshot : snapshots)
        if (snapshot.id == done.snapshot) view["snapshot_name"] = snapshot.name;
    return view;
}

Result<json> drill_view(tasks::Site& site, const VmId& vm) {
    auto done = UNDERSTUDY_VALUE(site.catalog.drills(vm));
    if (done.empty()) return json(nullptr);
    json view = done.front();
    view["age_ms"] = age_ms(site, done.front().ended);
    return view;
}

}  // namespace

Result<json> replica_view(tasks::Site& site, const model::Vm& vm) {
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm.id));
    json view{{"id", vm.id.text()},
              {"name", vm.name},
              {"ownership", vm.ownership},
              {"owner_name", tasks::cluster_name(site, vm.ownership.owner)},
              {"newest", nullptr},
              {"age_ms", nullptr},
              {"snapshots", snapshots.size()},
              {"size", 0},
              {"readiness", json::array()},
              {"ready", false},
              {"verified", nullptr},
              {"drilled", nullptr}};
    auto verified = UNDERSTUDY_VALUE(site.catalog.verifications(vm.id));
    if (!verified.empty()) view["verified"] = verification_view(site, verified.front(), snapshots);
    auto drilled = drill_view(site, vm.id);
    if (!drilled) return drilled;
    view["drilled"] = std::move(*drilled);
    auto point = UNDERSTUDY_VALUE(tasks::newest_point(site, vm));
    if (!point) return view;
    const auto& newest = *point;
    ByteSize size;
    for (const auto& disk : newest.disks) size += disk.size;
    auto promotion = promotion_view(site, vm, newest);
    if (!promotion) return promotion;
    view["newest"] = newest;
    view["age_ms"] = age_ms(site, newest.taken);
    view["size"] = size;
    view["readiness"] = promotion->at("issues");
    bool ready = true;
    for (const auto& issue : promotion->at("issues"))
        ready = ready && issue.at("severity") != "blocks";
    view["ready"] = ready;
    return view;
}

Result<json> replica_details(tasks::Site& site, const VmId& id) {
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
    if (vm.ownership.phase != model::Phase::replica)
        return fail(
            Error(ErrorKind::not_found, fmt::format("VM '{}' is not a replica here", vm.name))
                .advising("`understudy vm info` shows VMs of this cluster."));
    auto view = replica_view(site, vm);
    if (!view) return view;
    auto snapshots = snapshot_views(site, id);
    if (!snapshots) return snapshots;
    auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
    auto receiving = json::array();
    for (const auto& transfer : transfers)
        if (transfer.request.vm == id)
            receiving.push_back({{"snapshot", transfer.request.snapshot.name},
                                 {"received_bytes", transfer.received},
                                 {"updated", base::format_time(transfer.updated)}});
    auto verified = UNDERSTUDY_VALUE(site.catalog.verifications(id));
    auto listed = UNDERSTUDY_VALUE(site.catalog.snapshots(id));
    auto verifications = json::array();
    for (const auto& done : verified)
        verifications.push_back(verification_view(site, done, listed));
    return json{{"verifications", std::move(verifications)},
                {"replica", std::move(*view)},
                {"snapshots", std::move(*snapshots)},
                {"receiving", std::move(receiving)}};
}

Result<json> promotion_view(tasks::Site& site, const model::Vm& vm,
                            const model::Snapshot& snapshot) {
    auto definition = UNDERSTUDY_VALUE(site.catalog.definition(snapshot.id));
    json contact = nullptr;
    if (auto peer = site.catalog.peer(vm.ownership.owner); peer && peer->last_contact)
        contact = base::format_time(*peer->last_contact);
    auto adapted = tasks::rehearse(site, vm.ownership.owner, definition.domain_xml, snapshot.disks);
    // If this host cannot adapt a definition, that is an issue of this replica only: a list of
    // replicas must not fail because of one.
    if (!adapted) {
        ports::Adapted unknown;
        unknown.issues = {{model::Severity::blocks, "definition", adapted.error().text()}};
        adapted = std::move(unknown);
    }
    auto changes = json::array();
    for (const auto& change : adapted->changes)
        if (!change.starts_with("disk ")) changes.push_back(change);  // a promote places disks
    return json{{"vm", vm.name},
                {"snapshot", snapshot},
                {"age_ms", age_ms(site, snapshot.taken)},
                {"owner_name", tasks::cluster_name(site, vm.ownership.owner)},
                {"last_contact", contact},
                {"epoch", vm.ownership.epoch + 1},
                {"issues", adapted->issues},
                {"changes", std::move(changes)}};
}

}  // namespace understudy::api
