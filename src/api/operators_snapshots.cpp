#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "model/json.hpp"
#include "tasks/kinds.hpp"
#include "tasks/records/replica_records.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/replicas/send_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestName = 128;

struct Named {
    VmId vm;
    std::string vm_name;
    model::Snapshot snapshot;
};

Result<std::string> vm_name(tasks::Site& site, const VmId& id) {
    auto known = site.catalog.find_vm(id);
    if (!known) return std::unexpected(std::move(known.error()));
    if (*known) return (*known)->name;
    auto described = site.hypervisor.describe(id);
    if (!described) return std::unexpected(std::move(described.error()));
    return described->summary.name;
}

Result<Named> named(const Asked& asked) {
    auto vm = find_vm(asked.site(), asked.path[1]);
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto name = vm_name(asked.site(), *vm);
    if (!name) return std::unexpected(std::move(name.error()));
    auto snapshot = find_snapshot(asked.site(), *vm, asked.path[3]);
    if (!snapshot) return fail(std::move(snapshot.error()).during(*name));
    return Named{*vm, std::move(*name), std::move(*snapshot)};
}

Result<> check_name(const std::string& name) {
    const bool printable = std::all_of(name.begin(), name.end(), [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
    });
    if (name.empty() || name.size() > kLongestName || !printable || name.front() == '@' ||
        name.find('/') != std::string::npos)
        return fail(ErrorKind::invalid,
                    "a snapshot's name has 1 to 128 bytes, no '/', no control characters, and "
                    "does not begin with '@'");
    return {};
}

Result<> check_replica(tasks::Site& site, const VmId& id) {
    auto known = site.catalog.find_vm(id);
    if (!known) return std::unexpected(std::move(known.error()));
    if (!*known) return {};
    return engine::may_start((*known)->ownership, site.cluster.id, (*known)->name,
                             tasks::cluster_name(site, (*known)->ownership.owner));
}

Result<Reply> create(const Asked& asked) {
    auto& site = asked.site();
    auto vm = find_vm(site, asked.path[1]);
    if (!vm) return std::unexpected(std::move(vm.error()));
    UNDERSTUDY_TRY(check_replica(site, *vm));
    auto title_name = vm_name(site, *vm);
    if (!title_name) return std::unexpected(std::move(title_name.error()));
    auto name = text_field(asked.body, "name");
    if (!name) return std::unexpected(std::move(name.error()));
    if (name->empty()) *name = base::format_time(site.clock.now());
    UNDERSTUDY_TRY(check_name(*name));
    auto freeze = flag_field(asked.body, "freeze", true);
    if (!freeze) return std::unexpected(std::move(freeze.error()));
    auto before = site.catalog.snapshots(*vm);
    if (!before) return std::unexpected(std::move(before.error()));
    for (const auto& snapshot : *before)
        if (snapshot.name == *name)
            return fail(
                Error(ErrorKind::conflict,
                      fmt::format("VM '{}' has a snapshot '{}' already", *title_name, *name))
                    .advising("Choose another name, or leave it out."));
    return queue(
        asked, tasks::kSnapshotCreate, *vm, fmt::format("snapshot {}@{}", *title_name, *name),
        tasks::SnapshotCreateArguments{
            .vm = *vm, .snapshot = site.random.id<SnapshotId>(), .name = *name, .freeze = *freeze});
}

Result<Reply> info(const Asked& asked) {
    auto found = named(asked);
    if (!found) return std::unexpected(std::move(found.error()));
    auto view = snapshot_view(asked.site(), found->snapshot);
    if (!view) return std::unexpected(std::move(view.error()));
    auto definition = asked.site().catalog.definition(found->snapshot.id);
    if (!definition) return std::unexpected(std::move(definition.error()));
    return Reply{200, {{"snapshot", std::move(*view)}, {"domain_xml", definition->domain_xml}}};
}

// What only the operator lets go of: the writes of a line of the VM that was superseded.
Result<> let_go_of_branch(tasks::Site& site, const Named& of) {
    auto holds = site.catalog.holds(of.vm);
    if (!holds) return std::unexpected(std::move(holds.error()));
    for (const auto& hold : *holds)
        if (hold.snapshot == of.snapshot.id && hold.kind == model::HoldKind::branch)
            UNDERSTUDY_TRY(site.catalog.remove_hold(hold));
    return {};
}

Result<Reply> remove(const Asked& asked) {
    auto found = named(asked);
    if (!found) return std::unexpected(std::move(found.error()));
    if (asked.query("let_go") == "1") UNDERSTUDY_TRY(let_go_of_branch(asked.site(), *found));
    auto view = snapshot_view(asked.site(), found->snapshot);
    if (!view) return std::unexpected(std::move(view.error()));
    if (const auto& holds = view->at("holds"); !holds.empty())
        return fail(
            Error(ErrorKind::refused, fmt::format("snapshot '{}' is held: {}", found->snapshot.name,
                                                  holds.front().get<std::string>()))
                .keeping("the snapshot")
                .advising(holds.front().get<std::string>().starts_with("branch")
                              ? "It has what was written here alone; --let-go removes it all the "
                                "same."
                              : "It can go once a newer snapshot was sent to that peer."));
    return queue(asked, tasks::kSnapshotRemove, found->vm,
                 fmt::format("remove {}@{}", found->vm_name, found->snapshot.name),
                 tasks::SnapshotRemoveArguments{found->vm, {found->snapshot.id}});
}

Result<Reply> rollback(const Asked& asked) {
    auto found = named(asked);
    if (!found) return std::unexpected(std::move(found.error()));
    UNDERSTUDY_TRY(check_replica(asked.site(), found->vm));
    auto described = asked.site().hypervisor.describe(found->vm);
    if (described && described->summary.state != ports::VmState::stopped)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is running", found->vm_name))
                        .advising(fmt::format("Shut it down first: `understudy vm shutdown {}`.",
                                              base::shell_word(found->vm_name))));
    auto accept = texts_field(asked.body, "accept");
    if (!accept) return std::unexpected(std::move(accept.error()));
    return queue(asked, tasks::kSnapshotRollback, found->vm,
                 fmt::format("rollback {} to {}", found->vm_name, found->snapshot.name),
                 tasks::SnapshotRollbackArguments{found->vm, found->snapshot.id, *accept});
}

json plan_json(const tasks::PlannedSend& planned,
               const std::vector<tasks::DiskEstimate>& estimates) {
    auto disks = json::array();
    ByteSize bytes;
    for (const auto& disk : estimates) {
        disks.push_back({{"target", disk.target},
                         {"size", disk.size},
                         {"bytes", disk.data},
                         {"zero_bytes", disk.zero}});
        bytes += disk.data;
    }
    return {{"kind", std::string(engine::to_string(planned.plan.kind))},
            {"base", planned.base ? json(*planned.base) : json(nullptr)},
            {"reason", planned.plan.reason},
            {"disks", disks},
            {"bytes", bytes},
            {"issues", planned.issues}};
}

Result<Reply> preview(const Asked& asked, const tasks::SendCase& wanted) {
    auto planned = tasks::plan_send_here(asked.site(), wanted);
    if (!planned) return std::unexpected(std::move(planned.error()));
    auto estimates = tasks::estimate_send(asked.site(), *planned, wanted.peer);
    if (!estimates) return std::unexpected(std::move(estimates.error()));
    return Reply{200, {{"plan", plan_json(*planned, *estimates)}}};
}

Result<Reply> send(const Asked& asked) {
    auto& site = asked.site();
    auto found = named(asked);
    if (!found) return std::unexpected(std::move(found.error()));
    auto peer_word = text_field(asked.body, "peer");
    auto base_word = text_field(asked.body, "base");
    auto full = flag_field(asked.body, "full", false);
    auto dry_run = flag_field(asked.body, "dry_run", false);
    auto rate = number_field(asked.body, "rate_bytes", 0);
    auto channels = number_field(asked.body, "channels", site.settings.channels);
    auto accept = texts_field(asked.body, "accept");
    if (!peer_word) return std::unexpected(std::move(peer_word.error()));
    if (!base_word) return std::unexpected(std::move(base_word.error()));
    if (!full) return std::unexpected(std::move(full.error()));
    if (!dry_run) return std::unexpected(std::move(dry_run.error()));
    if (!rate) return std::unexpected(std::move(rate.error()));
    if (!channels) return std::unexpected(std::move(channels.error()));
    if (!accept) return std::unexpected(std::move(accept.error()));
    if (*channels < 1 || *channels > 16)
        return fail(ErrorKind::invalid, "a send uses 1 to 16 channels");
    auto peer = find_peer(site, *peer_word);
    if (!peer) return std::unexpected(std::move(peer.error()));
    tasks::SendCase wanted{found->vm, found->snapshot.id, peer->id, *full, {}, *accept};
    tasks::SendArguments arguments{.vm = found->vm,
                                   .snapshot = found->snapshot.id,
                                   .peer = peer->id,
                                   .full = *full,
                                   .rate_bytes = *rate,
                                   .channels = *channels,
                                   .accept = *accept};
    if (!base_word->empty()) {
        auto named_base = find_snapshot(site, found->vm, *base_word);
        if (!named_base) return fail(std::move(named_base.error()).during("--base"));
        wanted.base = named_base->id;
        arguments.base = named_base->id;
    }
    if (*dry_run) return preview(asked, wanted);
    UNDERSTUDY_TRY(check_replica(site, found->vm));
    return queue(asked, tasks::kSend, found->vm,
                 fmt::format("send {}@{} to {}", found->vm_name, found->snapshot.name, peer->name),
                 arguments);
}

Result<Reply> list(const Asked& asked) {
    auto vm = find_vm(asked.site(), asked.path[1]);
    if (!vm) return std::unexpected(std::move(vm.error()));
    return reply_with("snapshots", snapshot_views(asked.site(), *vm));
}

}  // namespace

Answer answer_snapshots(const Asked& asked) {
    if (asked.path.size() < 3 || asked.path[0] != "vms" || asked.path[2] != "snapshots")
        return std::nullopt;
    if (asked.is("GET", 3)) return list(asked);
    if (asked.is("POST", 3)) return create(asked);
    if (asked.is("GET", 4)) return info(asked);
    if (asked.is("DELETE", 4)) return remove(asked);
    if (asked.is("POST", 5) && asked.path[4] == "rollback") return rollback(asked);
    if (asked.is("POST", 5) && asked.path[4] == "send") return send(asked);
    return std::nullopt;
}

}  // namespace understudy::api
