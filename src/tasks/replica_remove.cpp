#include "tasks/arguments.hpp"
#include "tasks/drilling.hpp"
#include "tasks/kinds.hpp"
#include "tasks/volumes.hpp"

#include <fmt/format.h>

// The catalog forgets the replica first, then its data goes: a snapshot that is listed is whole.

namespace understudy::tasks {
namespace {

Result<> unlist(Work& work) {
    auto& catalog = work.site().catalog;
    const auto id = id_in<VmId>(work.arguments(), "vm");
    auto vm = catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm) return {};
    UNDERSTUDY_TRY(check_nothing_is_half_done(work));  // what departs is not kept yet
    if ((*vm)->ownership.phase != model::Phase::replica)
        return fail(
            Error(ErrorKind::refused, fmt::format("VM '{}' is not a replica here", (*vm)->name))
                .advising("Take Understudy out of a VM with `understudy vm release`."));
    auto snapshots = catalog.snapshots(id);
    if (!snapshots) return std::unexpected(std::move(snapshots.error()));
    auto volumes = nlohmann::json::object();
    for (const auto& snapshot : *snapshots)
        for (const auto& disk : snapshot.disks) volumes[disk.volume.text()] = disk.pool;
    auto transfers = catalog.transfers();
    if (!transfers) return std::unexpected(std::move(transfers.error()));
    for (const auto& transfer : *transfers)
        if (transfer.request.vm == id)
            for (const auto& disk : transfer.request.snapshot.disks)
                volumes[disk.volume.text()] = disk.pool;
    // What is being compared is not there any more, and must not keep its disks open.
    auto active = catalog.tasks({id, true, 1000});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.reads_only)
            UNDERSTUDY_TRY(catalog.request_cancel(task.id, work.site().clock.now()));
    UNDERSTUDY_TRY(check_no_drill(work.site(), id));  // asked to end just now
    work.memo()["volumes"] = volumes;
    UNDERSTUDY_TRY(work.save_memo());
    return work.site().end_receiving(id, [&] { return catalog.remove_vm(id); });
}

// Not of volumes that the catalog names again: a retry that comes late finds a new replica in them.
Result<> remove_data(Work& work) {
    const auto volumes = work.memo().value("volumes", nlohmann::json::object());
    auto used = volumes_in_use(work.site(), id_in<VmId>(work.arguments(), "vm"));
    if (!used) return std::unexpected(std::move(used.error()));
    for (const auto& [text, pool_name] : volumes.items()) {
        auto volume = VolumeId::parse(text);
        if (!volume) return std::unexpected(std::move(volume.error()));
        if (used->contains(*volume)) continue;
        auto pool = work.site().pool(pool_name.get<std::string>());
        if (!pool) return std::unexpected(std::move(pool.error()));
        auto gone = (*pool)->forget(*volume, true);
        if (!gone && gone.error().kind() != ErrorKind::not_found)
            return std::unexpected(std::move(gone.error()));
    }
    if (work.site().evidence)
        return work.site().evidence->forget(id_in<VmId>(work.arguments(), "vm"));
    return {};
}

}  // namespace

Kind replica_remove() {
    return Kind{
        kReplicaRemove, {{"unlist", unlist}, {"remove_data", remove_data, true}}, nullptr, false};
}

}  // namespace understudy::tasks
