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
#include <string_view>

// Calls about a VM's snapshots: list, create, details, remove, roll back, send. Calls that change
// something check the request, so that the operator hears at once what is wrong with it, and queue
// a task. A send with dry_run answers with the plan instead; for that the peer is asked, and what
// it says about owners is applied here. remove with let_go first removes the branch holds, within
// the request: if it is then refused because of another hold, or the daemon dies, they are gone.

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
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (known) return known->name;
    auto described = UNDERSTUDY_VALUE(site.hypervisor.describe(id));
    return described.summary.name;
}

Result<Named> named(const Asked& asked) {
    auto vm = UNDERSTUDY_VALUE(find_vm(asked.site(), asked.path[1]));
    auto name = UNDERSTUDY_VALUE(vm_name(asked.site(), vm));
    auto snapshot = find_snapshot(asked.site(), vm, asked.path[3]);
    if (!snapshot) return fail(std::move(snapshot.error()).during(name));
    return Named{vm, std::move(name), std::move(*snapshot)};
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
    auto known = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (!known) return {};
    return engine::may_start(known->ownership, site.cluster.id, known->name,
                             tasks::cluster_name(site, known->ownership.owner));
}

Result<Reply> create(const Asked& asked) {
    auto& site = asked.site();
    auto vm = UNDERSTUDY_VALUE(find_vm(site, asked.path[1]));
    UNDERSTUDY_TRY(check_replica(site, vm));
    auto title_name = UNDERSTUDY_VALUE(vm_name(site, vm));
    auto name = text_field(asked.body, "name");
    if (!name) return error_of(name);
    if (name->empty()) *name = base::format_time(site.clock.now());
    UNDERSTUDY_TRY(check_name(*name));
    auto freeze = UNDERSTUDY_VALUE(flag_field(asked.body, "freeze", true));
    auto before = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    for (const auto& snapshot : before)
        if (snapshot.name == *name)
            return fail(Error(ErrorKind::conflict,
                              fmt::format("VM '{}' has a snapshot '{}' already", title_name, *name))
                            .advising("Choose another name, or leave it out."));
    return queue(
        asked, tasks::kSnapshotCreate, vm, fmt::format("snapshot {}@{}", title_name, *name),
        tasks::SnapshotCreateArguments{
            .vm = vm, .snapshot = site.random.id<SnapshotId>(), .name = *name, .freeze = freeze});
}

Result<Reply> info(const Asked& asked) {
    auto found = UNDERSTUDY_VALUE(named(asked));
    auto view = UNDERSTUDY_VALUE(snapshot_view(asked.site(), found.snapshot));
    auto definition = UNDERSTUDY_VALUE(asked.site().catalog.definition(found.snapshot.id));
    return Reply{200, {{"snapshot", std::move(view)}, {"domain_xml", definition.domain_xml}}};
}

// Removes the snapshot's branch holds. They keep the writes of a superseded line of the VM, so
// only the operator may remove them.
Result<> let_go_of_branch(tasks::Site& site, const Named& of) {
    auto holds = UNDERSTUDY_VALUE(site.catalog.holds(of.vm));
    for (const auto& hold : holds)
        if (hold.snapshot == of.snapshot.id && hold.kind == model::HoldKind::branch)
            UNDERSTUDY_TRY(site.catalog.remove_hold(hold));
    return {};
}

// What to do about a snapshot with this hold (as views.cpp names it), for people.
std::string_view advice_about(std::string_view hold) {
    if (hold.starts_with("branch"))
        return "It has what was written here alone; --let-go removes it all the same.";
    if (hold.starts_with("base"))
        return "It can be removed when both clusters have a newer snapshot.";
    if (hold.starts_with("drill")) return "It can be removed when that drill has ended.";
    if (hold.starts_with("transfer"))
        return "It can be removed when that task or transfer has ended: `understudy task list`.";
    return "It can be removed when this hold has ended.";
}

Result<Reply> remove(const Asked& asked) {
    auto found = UNDERSTUDY_VALUE(named(asked));
    if (asked.query("let_go") == "1") UNDERSTUDY_TRY(let_go_of_branch(asked.site(), found));
    auto view = UNDERSTUDY_VALUE(snapshot_view(asked.site(), found.snapshot));
    if (const auto& holds = view.at("holds"); !holds.empty())
        return fail(
            Error(ErrorKind::refused, fmt::format("snapshot '{}' is held: {}", found.snapshot.name,
                                                  holds.front().get<std::string>()))
                .keeping("the snapshot")
                .advising(std::string(advice_about(holds.front().get<std::string>()))));
    return queue(asked, tasks::kSnapshotRemove, found.vm,
                 fmt::format("remove {}@{}", found.vm_name, found.snapshot.name),
                 tasks::SnapshotRemoveArguments{found.vm, {found.snapshot.id}});
}

Result<Reply> rollback(const Asked& asked) {
    auto found = UNDERSTUDY_VALUE(named(asked));
    UNDERSTUDY_TRY(check_replica(asked.site(), found.vm));
    auto described = asked.site().hypervisor.describe(found.vm);
    if (described && described->summary.state != ports::VmState::stopped)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is running", found.vm_name))
                        .advising(fmt::format("Shut it down first: `understudy vm shutdown {}`.",
                                              base::shell_word(found.vm_name))));
    auto accept = UNDERSTUDY_VALUE(texts_field(asked.body, "accept"));
    return queue(asked, tasks::kSnapshotRollback, found.vm,
                 fmt::format("rollback {} to {}", found.vm_name, found.snapshot.name),
                 tasks::SnapshotRollbackArguments{found.vm, found.snapshot.id, accept});
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
    auto planned = UNDERSTUDY_VALUE(tasks::preview_send(asked.site(), wanted));
    auto estimates = UNDERSTUDY_VALUE(tasks::estimate_send(asked.site(), planned, wanted.peer));
    return Reply{200, {{"plan", plan_json(planned, estimates)}}};
}

Result<Reply> send(const Asked& asked) {
    auto& site = asked.site();
    auto found = UNDERSTUDY_VALUE(named(asked));
    auto peer_word = text_field(asked.body, "peer");
    auto base_word = text_field(asked.body, "base");
    auto full = flag_field(asked.body, "full", false);
    auto dry_run = flag_field(asked.body, "dry_run", false);
    auto rate = number_field(asked.body, "rate_bytes", 0);
    auto channels = number_field(asked.body, "channels", site.settings.channels);
    auto accept = texts_field(asked.body, "accept");
    if (!peer_word) return error_of(peer_word);
    if (!base_word) return error_of(base_word);
    if (!full) return error_of(full);
    if (!dry_run) return error_of(dry_run);
    if (!rate) return error_of(rate);
    if (!channels) return error_of(channels);
    if (!accept) return error_of(accept);
    if (*channels < 1 || *channels > 16)
        return fail(ErrorKind::invalid, "a send uses 1 to 16 channels");
    auto peer = UNDERSTUDY_VALUE(find_peer(site, *peer_word));
    tasks::SendCase wanted{found.vm, found.snapshot.id, peer.id, *full, {}, *accept};
    tasks::SendArguments arguments{.vm = found.vm,
                                   .snapshot = found.snapshot.id,
                                   .peer = peer.id,
                                   .full = *full,
                                   .rate_bytes = *rate,
                                   .channels = *channels,
                                   .accept = *accept};
    if (!base_word->empty()) {
        auto named_base = find_snapshot(site, found.vm, *base_word);
        if (!named_base) return fail(std::move(named_base.error()).during("--base"));
        wanted.base = named_base->id;
        arguments.base = named_base->id;
    }
    if (*dry_run) return preview(asked, wanted);
    UNDERSTUDY_TRY(check_replica(site, found.vm));
    return queue(asked, tasks::kSend, found.vm,
                 fmt::format("send {}@{} to {}", found.vm_name, found.snapshot.name, peer.name),
                 arguments);
}

Result<Reply> list(const Asked& asked) {
    auto vm = UNDERSTUDY_VALUE(find_vm(asked.site(), asked.path[1]));
    return reply_with("snapshots", snapshot_views(asked.site(), vm));
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
