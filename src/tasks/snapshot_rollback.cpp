#include "base/shell_word.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "tasks/arguments.hpp"
#include "tasks/kinds.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

#include <algorithm>

// The VM's disks and definition go back to a snapshot; what the guest wrote after its newest
// snapshot is given up (the command line says so and asks). Snapshots stay, all of them.
//
// The order, and what a crash leaves: `hold` rehearses, before anything is made; `go_back` makes
// the new heads beside the present ones and defines the VM with them, which is the one step from
// before to after; `settle` throws away the heads that were there, or takes a disk back in place
// whose pool has no heads beside the present one. Until the VM is defined anew everything can be
// undone, after it everything goes forward.

namespace understudy::tasks {
namespace {

// In the memo:
constexpr const char* kMade = "made";         // volume → location of its new head
constexpr const char* kInPlace = "in_place";  // the same of heads that are taken back as they stand
constexpr const char* kDefining = "defining";  // the VM may be defined as it was in the snapshot

Result<model::Snapshot> snapshot_of(Work& work) {
    return work.site().catalog.snapshot(id_in<SnapshotId>(work.arguments(), "snapshot"));
}

// Nothing: libvirt does not have the VM here.
Result<std::optional<ports::VmDescription>> described_now(Work& work) {
    auto described = work.site().hypervisor.describe(id_in<VmId>(work.arguments(), "vm"));
    if (described) return std::move(*described);
    if (described.error().kind() == ErrorKind::not_found) return std::nullopt;
    return std::unexpected(std::move(described.error()));
}

Result<> check_stopped(const std::optional<ports::VmDescription>& described) {
    if (!described) return {};
    const auto& name = described->summary.name;
    if (described->summary.state != ports::VmState::stopped)
        return fail(Error(ErrorKind::refused, fmt::format("VM '{}' is running", name))
                        .keeping("everything as it was")
                        .advising(fmt::format("Shut it down first: `understudy vm shutdown {}`.",
                                              base::shell_word(name))));
    // Its memory belongs to the disks that would be thrown away.
    for (const auto& obstacle : described->obstacles)
        if (obstacle.key == "managed-save")
            return fail(Error(ErrorKind::refused,
                              fmt::format("VM '{}' has saved memory (`virsh managedsave`)", name))
                            .keeping("everything as it was")
                            .advising("Start it and shut it down, or drop the memory with `virsh "
                                      "managedsave-remove`."));
    return {};
}

Result<> check(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    UNDERSTUDY_TRY(engine::may_start(vm->ownership, site.cluster.id, vm->name,
                                     cluster_name(site, vm->ownership.owner)));
    auto described = described_now(work);
    if (!described) return std::unexpected(std::move(described.error()));
    UNDERSTUDY_TRY(check_stopped(*described));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto adapted = rehearse_here(site, *snapshot, snapshot->origin);
    if (!adapted) return std::unexpected(std::move(adapted.error()).during("rehearse"));
    return engine::check_obstacles(adapted->issues, texts_in(work.arguments(), "accept"));
}

// Until the VM is on it, the snapshot must stay.
Result<> hold(Work& work) {
    UNDERSTUDY_TRY(check(work));
    UNDERSTUDY_TRY(check_nothing_is_half_done(work));
    UNDERSTUDY_TRY(
        check_no_snapshot_is_half_done(work.site(), id_in<VmId>(work.arguments(), "vm")));
    return hold_for_task(work, id_in<SnapshotId>(work.arguments(), "snapshot"));
}

// What an earlier task left half-done is settled by what the VM is defined with now.
Result<> settle_present(const ports::VmDescription& described, const model::SnapshotDisk& disk,
                        ports::StoragePool& pool) {
    auto known = pool.knows(disk.volume);
    if (!known) return std::unexpected(std::move(known.error()));
    for (const auto& defined : described.disks) {
        if (!*known || defined.target != disk.target) continue;
        auto settled =
            pool.adopt(disk.volume, {described.summary.name, disk.target}, defined.source);
        if (!settled && settled.error().kind() != ErrorKind::conflict)
            return std::unexpected(std::move(settled.error()).during(disk.target));
    }
    return {};
}

Result<std::vector<ports::DiskSwitch>> make_heads(Work& work, const model::Snapshot& snapshot) {
    auto& site = work.site();
    auto described = described_now(work);
    if (!described) return std::unexpected(std::move(described.error()));
    std::vector<ports::DiskSwitch> heads;
    for (const auto& disk : snapshot.disks) {
        auto pool = site.pool(disk.pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        if (*described) UNDERSTUDY_TRY(settle_present(**described, disk, **pool));
        auto head = (*pool)->activate(disk.volume, snapshot.id, ports::ActivationKind::rollback);
        if (!head)
            return std::unexpected(std::move(head.error()).during("activate " + disk.target));
        auto present = (*pool)->head(disk.volume);
        if (!present) return std::unexpected(std::move(present.error()));
        const bool is_beside = *present != *head;
        if (is_beside || !(*pool)->features().live_overlay)
            work.memo()[is_beside ? kMade : kInPlace][disk.volume.text()] = {
                {"type", head->type}, {"format", head->format}, {"location", head->location}};
        UNDERSTUDY_TRY(work.save_memo());
        heads.push_back({disk.target, std::move(*head)});
    }
    return heads;
}

struct MadeHead {
    const model::SnapshotDisk* disk;
    ports::DiskSource source;
};

std::vector<MadeHead> heads_in(Work& work, const char* where, const model::Snapshot& snapshot) {
    const auto made = work.memo().value(where, nlohmann::json::object());
    std::vector<MadeHead> heads;
    for (const auto& disk : snapshot.disks)
        if (const auto head = made.find(disk.volume.text()); head != made.end())
            heads.push_back(
                {&disk,
                 {text_in(*head, "type"), text_in(*head, "format"), text_in(*head, "location")}});
    return heads;
}

Result<> go_back(Work& work) {
    UNDERSTUDY_TRY(hold(work));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    auto heads = make_heads(work, *snapshot);
    if (!heads) return std::unexpected(std::move(heads.error()));
    work.memo()[kDefining] = true;
    UNDERSTUDY_TRY(work.save_memo());
    auto changes = define_from_snapshot(work, *snapshot, *heads, snapshot->origin,
                                        texts_in(work.arguments(), "accept"));
    if (!changes) return std::unexpected(std::move(changes.error()));
    return {};
}

Result<bool> is_defined_with(Work& work, const std::vector<MadeHead>& made) {
    auto described = described_now(work);
    if (!described) return std::unexpected(std::move(described.error()));
    if (!*described) return false;
    return std::ranges::any_of((*described)->disks, [&](const ports::DiskDescription& disk) {
        return std::ranges::any_of(
            made, [&](const auto& head) { return head.source.location == disk.source.location; });
    });
}

// Heads that the VM is not defined with; one that a later rollback made its own is left to that.
Result<> drop_heads(Work& work, const model::Snapshot& snapshot) {
    auto heads = heads_in(work, kMade, snapshot);
    for (auto& head : heads_in(work, kInPlace, snapshot)) heads.push_back(std::move(head));
    for (const auto& head : heads) {
        auto pool = work.site().pool(head.disk->pool);
        if (!pool) continue;
        auto undone = (*pool)->deactivate(head.disk->volume, head.source);
        if (!undone && undone.error().kind() != ErrorKind::not_found &&
            undone.error().kind() != ErrorKind::refused)
            return std::unexpected(std::move(undone.error()).during(head.disk->target));
    }
    return {};
}

Result<> take_place(Work& work, const std::vector<MadeHead>& heads, const SnapshotId& snapshot) {
    for (const auto& head : heads) {
        auto pool = work.site().pool(head.disk->pool);
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto settled =
            (*pool)->activate(head.disk->volume, snapshot, ports::ActivationKind::promote);
        if (!settled) return std::unexpected(std::move(settled.error()).during(head.disk->target));
    }
    return {};
}

// The catalog first: until the pools have the new heads no snapshot can be taken of them, which
// would get a wrong parent.
Result<> settle(Work& work) {
    auto& site = work.site();
    auto vm = site.catalog.vm(id_in<VmId>(work.arguments(), "vm"));
    if (!vm) return std::unexpected(std::move(vm.error()));
    auto snapshot = snapshot_of(work);
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    const auto made = heads_in(work, kMade, *snapshot);
    auto defined = is_defined_with(work, made);
    if (!defined) return std::unexpected(std::move(defined.error()));
    if (!made.empty() && !*defined) {
        work.log("the VM has other disks again: its new ones are not used");
        UNDERSTUDY_TRY(drop_heads(work, *snapshot));
        return let_go_for_task(work, snapshot->id);
    }
    const auto former = work.memo().value("former", vm->disks);
    work.memo()["former"] = former;
    UNDERSTUDY_TRY(work.save_memo());
    vm->disks = vm_disks(snapshot->disks);
    vm->head_parent = snapshot->id;
    UNDERSTUDY_TRY(site.catalog.save_vm(*vm));
    UNDERSTUDY_TRY(take_place(work, made, snapshot->id));
    UNDERSTUDY_TRY(take_place(work, heads_in(work, kInPlace, *snapshot), snapshot->id));
    UNDERSTUDY_TRY(forget_unused(site, vm->id, former));  // of disks that came later
    work.result()["rolled_back_to"] = snapshot->name;
    return let_go_for_task(work, snapshot->id);
}

// New heads that the VM was not defined with go. Once it is, there is only the way forward.
Result<> take_back(Work& work) {
    auto snapshot = snapshot_of(work);
    if (!snapshot && snapshot.error().kind() == ErrorKind::not_found) return {};
    if (!snapshot) return std::unexpected(std::move(snapshot.error()));
    const auto made = heads_in(work, kMade, *snapshot);
    auto defined = is_defined_with(work, made);
    if (!defined) return std::unexpected(std::move(defined.error()));
    if (*defined || (made.empty() && flag_in(work.memo(), kDefining))) {
        UNDERSTUDY_TRY(settle(work));
        work.log("the VM had its new disks already: the rollback is complete");
        return {};
    }
    UNDERSTUDY_TRY(drop_heads(work, *snapshot));
    UNDERSTUDY_TRY(let_go_for_task(work, snapshot->id));
    for (const char* done : {kMade, kInPlace, kDefining}) work.memo().erase(done);
    work.begin_again();
    return {};
}

}  // namespace

Kind snapshot_rollback() {
    return Kind{"snapshot_rollback",
                {{"hold", hold}, {"go_back", go_back}, {"settle", settle, true}},
                take_back,
                true};
}

}  // namespace understudy::tasks
