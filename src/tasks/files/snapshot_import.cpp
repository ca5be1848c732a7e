#include "engine/lineage.hpp"
#include "engine/ownership.hpp"
#include "engine/send_plan.hpp"
#include "model/json.hpp"
#include "tasks/disks/definition.hpp"
#include "tasks/disks/incoming.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/files/import_parts.hpp"
#include "tasks/files/kinds.hpp"
#include "tasks/queue/pass.hpp"
#include "tasks/records/file_records.hpp"
#include "tasks/replicas/incoming_rules.hpp"

#include <fmt/format.h>

// An import is a transfer whose source is this cluster: the catalog's record of it keeps the base
// and the volumes as for one from a peer, and peers wait for its end. `check` decides what the
// snapshot becomes and makes that record; `receive` copies, verifies and makes durable, from the
// beginning each time; `publish` lets it exist, as in a send; `define` gives a new VM to libvirt.
// A new VM's snapshot carries the definition of the new VM: nothing here ever names the old one.

namespace understudy::tasks {
namespace {

const SnapshotImportArguments& arguments_of(Work& work) {
    return work.arguments<SnapshotImportArguments>();
}

SnapshotImportMemo& memo_of(Work& work) {
    return work.memo<SnapshotImportMemo>();
}

SnapshotImportResult& result_of(Work& work) {
    return work.result<SnapshotImportResult>();
}

bool is_new_vm(Work& work) {
    return !arguments_of(work).name.empty();
}

// The files, or a snapshot that is here already, of which a new VM is made.
Result<Export> wanted_export(Work& work) {
    const auto& of = arguments_of(work).of;
    return of ? export_of_snapshot(work.site(), *of)
              : read_export(work.site(), arguments_of(work).directory);
}

// The id that the snapshot gets here. For a new VM it is another one than in the file.
SnapshotId snapshot_id(Work& work, const Export& wanted) {
    return is_new_vm(work) ? arguments_of(work).snapshot.value_or(SnapshotId{})
                           : wanted.snapshot.id;
}

Result<ImportChain> chain_for(Work& work) {
    auto& site = work.site();
    auto wanted = UNDERSTUDY_VALUE(wanted_export(work));
    if (is_new_vm(work))
        return chain_of_new_vm(site, std::move(wanted), arguments_of(work).base_directory);
    if (wanted.vm != arguments_of(work).vm)
        return fail(
            ErrorKind::invalid,
            fmt::format(
                "{} does not contain the VM any more that it contained when the import was queued",
                wanted.directory));
    return chain_here(site, std::move(wanted));
}

// A volume that is here stays where it is; a new one goes to the pool that was asked for, or where
// the owner's pool is mapped, or to the pool of the same name, or to the default pool.
//
// Not the rule of a send (`place_disks` in tasks/replicas/receiving.cpp). Only the pools are asked
// where a volume is, not the catalog, so all of them have to answer: else the volume of a silent
// pool would be made a second time in another one. (A new VM's volumes can be in none, but the
// pools are asked for these, too.) A pool that was asked for or mapped, and that this cluster does
// not have, is refused: somebody waits for the import and can name another.
Result<std::string> pool_for(Work& work, const Export& wanted, const model::SnapshotDisk& disk) {
    auto& site = work.site();
    for (const auto& [name, pool] : site.pools) {
        auto known = UNDERSTUDY_VALUE(pool->knows(disk.volume));
        if (known) return name;
    }
    auto asked = arguments_of(work).pool;
    if (asked.empty() && wanted.ownership)
        if (auto peer = site.catalog.peer(wanted.ownership->owner)) {
            const auto mapped = peer->pools.find(disk.pool);
            if (mapped != peer->pools.end()) asked = mapped->second;
        }
    if (asked.empty())
        asked = site.pools.contains(disk.pool) ? disk.pool : site.settings.default_pool;
    UNDERSTUDY_TRY(site.pool(asked));
    return asked;
}

Result<> place_disks(Work& work, const ImportChain& chain, model::TransferRequest& request) {
    auto& site = work.site();
    for (std::size_t i = 0; i < request.snapshot.disks.size(); ++i) {
        auto& disk = request.snapshot.disks[i];
        if (is_new_vm(work)) disk.volume = site.random.id<VolumeId>();
        if (disk.size.count() == 0) {
            auto size = UNDERSTUDY_VALUE(imported_size(site, chain.wanted().disks[i]));
            disk.size = size;
        }
        auto pool = UNDERSTUDY_VALUE(pool_for(work, chain.wanted(), disk));
        disk.pool = std::move(pool);
    }
    return {};
}

// The definition that the new VM will have: as a promote would make it, under a new identity.
Result<> make_new_definition(Work& work, const Export& wanted, model::TransferRequest& request) {
    auto& site = work.site();
    ports::AdaptRequest adapt;
    adapt.domain_xml = wanted.definition.domain_xml;
    adapt.new_name = request.vm_name;
    adapt.new_id = request.vm;
    auto networks = UNDERSTUDY_VALUE(
        networks_from(site, wanted.ownership ? wanted.ownership->owner : ClusterId()));
    adapt.networks = std::move(networks);
    auto disks = UNDERSTUDY_VALUE(outlined_disks(site, request.snapshot.disks));
    adapt.disks = std::move(disks);
    auto adapted = site.hypervisor.adapt(adapt);
    if (!adapted) return fail(std::move(adapted.error()).during("adapt the definition"));
    UNDERSTUDY_TRY(engine::check_obstacles(adapted->issues, arguments_of(work).accept));
    std::vector<std::string> changes;
    for (const auto& change : adapted->changes) {
        if (change.starts_with("disk ")) continue;  // their places come later
        work.log(change);
        changes.push_back(change);
    }
    memo_of(work).changes = std::move(changes);
    request.definition.domain_xml = std::move(adapted->domain_xml);
    return {};
}

Result<model::TransferRequest> request_of_new_vm(Work& work, const ImportChain& chain) {
    auto& site = work.site();
    const auto& wanted = chain.wanted();
    model::TransferRequest request;
    request.vm = arguments_of(work).vm;
    request.vm_name = arguments_of(work).name;
    request.ownership = engine::adopted_by(site.cluster.id);
    request.snapshot = wanted.snapshot;
    request.snapshot.id = snapshot_id(work, wanted);
    request.snapshot.vm = request.vm;
    request.snapshot.parent.reset();
    request.snapshot.origin = site.cluster.id;
    request.snapshot.epoch = request.ownership.epoch;
    request.definition = wanted.definition;
    UNDERSTUDY_TRY(check_name_is_free(site, request.vm_name, request.vm));
    UNDERSTUDY_TRY(place_disks(work, chain, request));
    UNDERSTUDY_TRY(make_new_definition(work, wanted, request));
    return request;
}

// Something that libvirt has under this id and Understudy does not know would be in the way of a
// promote, and may be running.
Result<> check_not_defined(Site& site, const Export& wanted) {
    auto presence = UNDERSTUDY_VALUE(presence_of(site, wanted.vm));
    if (presence == Presence::undefined) return {};
    return fail(Error(ErrorKind::refused, fmt::format("libvirt has the VM '{}' here with the same "
                                                      "UUID, and Understudy does not manage it",
                                                      wanted.vm_name))
                    .advising("Import it as another VM: --as-new-vm NAME."));
}

Result<model::TransferRequest> request_of_known(Work& work, const ImportChain& chain) {
    auto& site = work.site();
    const auto& wanted = chain.wanted();
    auto here = UNDERSTUDY_VALUE(site.catalog.find_vm(wanted.vm));
    std::optional<model::Ownership> owned;
    if (here) owned = here->ownership;
    auto ownership = UNDERSTUDY_VALUE(
        engine::after_import(owned, *wanted.ownership, site.cluster.id, wanted.vm_name));
    if (!here) UNDERSTUDY_TRY(check_not_defined(site, wanted));
    model::TransferRequest request{wanted.vm,         here ? here->name : wanted.vm_name,
                                   ownership,         wanted.snapshot,
                                   wanted.definition, {}};
    if (chain.on) request.base = chain.on;
    UNDERSTUDY_TRY(check_volumes_are_its_own(site, wanted.vm, wanted.snapshot.disks));
    UNDERSTUDY_TRY(place_disks(work, chain, request));
    return request;
}

// No peer's offer can come in between.
Result<> add_transfer(Work& work, const model::TransferRequest& request) {
    auto& site = work.site();
    model::Transfer made;
    made.id = site.random.id<TransferId>();
    made.source = site.cluster.id;
    made.request = request;
    made.created = made.updated = site.clock.now();
    memo_of(work).transfer = made.id;
    UNDERSTUDY_TRY(work.save_memo());
    return between_offers(site, [&]() -> Result<> {
        auto transfers = UNDERSTUDY_VALUE(site.catalog.transfers());
        for (const auto& other : transfers)
            if (other.request.vm == request.vm)
                return fail(Error(ErrorKind::unavailable,
                                  fmt::format("'{}' is sending VM '{}' here",
                                              cluster_name(site, other.source), request.vm_name))
                                .advising("Import when that send has ended. If the sender never "
                                          "continues it, this cluster removes it after a week."));
        return site.catalog.add_transfer(made);
    });
}

Result<std::optional<model::Transfer>> transfer_of(Work& work) {
    const auto& id = memo_of(work).transfer;
    if (!id) return std::nullopt;
    auto transfer = work.site().catalog.transfer(*id);
    if (transfer) return std::move(*transfer);
    if (transfer.error().kind() == ErrorKind::not_found) return std::nullopt;
    return error_of(transfer);
}

Result<bool> is_listed(Work& work, const SnapshotId& id) {
    auto listed = UNDERSTUDY_VALUE(work.site().catalog.find_snapshot(id));
    if (listed && listed->vm != arguments_of(work).vm)
        return fail(ErrorKind::invalid, "this snapshot id belongs to another VM here");
    return listed.has_value();
}

Result<> check(Work& work) {
    auto wanted = UNDERSTUDY_VALUE(wanted_export(work));
    if (!is_new_vm(work) && !wanted.ownership)
        return fail(
            Error(ErrorKind::invalid,
                  fmt::format("{} does not come from an Understudy cluster", wanted.directory))
                .advising("Import it as a new VM: --as-new-vm NAME."));
    memo_of(work).snapshot = snapshot_id(work, wanted);
    auto listed = UNDERSTUDY_VALUE(is_listed(work, snapshot_id(work, wanted)));
    if (listed) {
        if (!memo_of(work).transfer) memo_of(work).kind = "nothing";
        return {};
    }
    auto chain = UNDERSTUDY_VALUE(chain_for(work));
    auto known = transfer_of(work);
    if (!known || *known) return known ? Result<>{} : fail(std::move(known.error()));
    auto request = UNDERSTUDY_VALUE(is_new_vm(work) ? request_of_new_vm(work, chain)
                                                    : request_of_known(work, chain));
    memo_of(work).kind = chain.wanted().base ? "incremental" : "full";
    if (chain.is_copied) {
        memo_of(work).copied = chain.on;
        UNDERSTUDY_TRY(work.save_memo());
        UNDERSTUDY_TRY(hold_for_task(work, *chain.on));
    }
    return add_transfer(work, request);
}

// The transfer of this import; nothing when there is nothing to import or the snapshot is listed
// already. `gone` is the kind of error when its record is not there any more.
Result<std::optional<model::Transfer>> open_transfer(Work& work, ErrorKind gone) {
    if (memo_of(work).kind == "nothing") return std::nullopt;
    auto listed = UNDERSTUDY_VALUE(is_listed(work, memo_of(work).snapshot.value_or(SnapshotId{})));
    if (listed) return std::nullopt;
    auto transfer = transfer_of(work);
    if (transfer && !*transfer) return fail(gone, "the import was abandoned");
    return transfer;
}

Result<std::unique_ptr<ports::Incoming>> open_incoming(Work& work,
                                                       const model::TransferRequest& request,
                                                       const model::SnapshotDisk& disk) {
    auto& site = work.site();
    auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
    std::optional<model::Snapshot> base;
    if (request.base) {
        base = UNDERSTUDY_VALUE(site.catalog.snapshot(*request.base));
    }
    return pool->receive(disk.volume, {request.vm_name, disk.target},
                         engine::base_of_disk(base, disk.volume), request.snapshot.id, disk.size);
}

// An earlier attempt's content may be of files that were replaced since, so it is discarded.
Result<std::unique_ptr<ports::Incoming>> open_empty(Work& work,
                                                    const model::TransferRequest& request,
                                                    const model::SnapshotDisk& disk) {
    auto left = open_incoming(work, request, disk);
    if (!left) return left;
    UNDERSTUDY_TRY((*left)->discard());
    left->reset();
    return open_incoming(work, request, disk);
}

Result<> receive(Work& work) {
    auto transfer = UNDERSTUDY_VALUE(open_transfer(work, ErrorKind::conflict));
    if (!transfer) return {};
    auto chain = UNDERSTUDY_VALUE(chain_for(work));
    const auto& request = transfer->request;
    if (chain.wanted().disks.size() != request.snapshot.disks.size())
        return fail(ErrorKind::invalid, "the files were replaced after the import began");
    Pass pass(work, chain.total_bytes());
    pass.touched = [&, id = transfer->id](std::uint64_t done) {
        return work.site().catalog.save_durable(id, {}, ByteSize(done), work.site().clock.now());
    };
    for (std::size_t i = 0; i < request.snapshot.disks.size(); ++i) {
        const auto& disk = request.snapshot.disks[i];
        auto incoming = open_empty(work, request, disk);
        if (!incoming)
            return fail(
                std::move(incoming.error())
                    .during(fmt::format("receive {} into pool '{}'", disk.target, disk.pool)));
        auto copied =
            import_disk(work.site(), chain, i, **incoming, disk.size, pass.counting(disk.target));
        if (!copied) return fail(std::move(copied.error()).during("import " + disk.target));
        UNDERSTUDY_TRY((*incoming)->flush());
    }
    return {};
}

// The VM's record afterwards: as it is, or of its newest snapshot.
Result<model::Vm> vm_after(Work& work, const model::TransferRequest& request) {
    auto& catalog = work.site().catalog;
    auto here = UNDERSTUDY_VALUE(catalog.find_vm(request.vm));
    model::Vm vm;
    if (here) vm = std::move(*here);
    if (here && vm.ownership.phase != model::Phase::replica) return vm;
    auto snapshots = UNDERSTUDY_VALUE(catalog.snapshots(request.vm));
    snapshots.push_back(request.snapshot);
    model::sort_by_lineage(snapshots);
    if (!here) {
        vm.id = request.vm;
        vm.name = request.vm_name;
        vm.ownership = request.ownership;
    }
    if (snapshots.back().id == request.snapshot.id) vm.disks = vm_disks(request.snapshot.disks);
    return vm;
}

Result<> list_snapshot(Work& work, const model::Transfer& transfer) {
    auto& site = work.site();
    const auto& request = transfer.request;
    auto snapshot = UNDERSTUDY_VALUE(as_listed_here(site, request.snapshot, request.base));
    auto vm = UNDERSTUDY_VALUE(vm_after(work, request));
    const auto owner = vm.ownership.owner;
    std::vector<model::Hold> holds;
    // As after a send: what the owner sends next builds on it. A cluster that is no peer sends
    // nothing.
    if (owner != site.cluster.id && site.catalog.peer(owner)) {
        holds = UNDERSTUDY_VALUE(base_hold(site, owner, snapshot));
    }
    // The transfer ends in the same transaction, but not for a VM that is owned here:
    // publish_snapshot refuses to end a transfer of such a VM.
    const bool is_ours = vm.ownership.phase == model::Phase::owned && !is_new_vm(work);
    std::optional<TransferId> ends;
    if (!is_ours) ends = transfer.id;
    UNDERSTUDY_TRY(site.catalog.publish_snapshot(vm, snapshot, request.definition, holds, ends));
    return site.catalog.remove_transfer(transfer.id);
}

Result<> publish(Work& work) {
    auto transfer = UNDERSTUDY_VALUE(open_transfer(work, ErrorKind::not_found));
    if (transfer) {
        for (const auto& disk : transfer->request.snapshot.disks) {
            auto incoming = UNDERSTUDY_VALUE(open_incoming(work, transfer->request, disk));
            auto published = incoming->publish();
            if (!published)
                return fail(std::move(published.error()).during("publish " + disk.target));
        }
        UNDERSTUDY_TRY(list_snapshot(work, *transfer));
    }
    // Again, because a crash may have come after the snapshot was listed and before its transfer
    // was removed.
    if (const auto& id = memo_of(work).transfer)
        UNDERSTUDY_TRY(work.site().catalog.remove_transfer(*id));
    return {};
}

Result<> release_holds(Work& work) {
    const auto& copied = memo_of(work).copied;
    return copied ? let_go_for_task(work, *copied) : Result<>{};
}

Result<> define(Work& work) {
    auto& site = work.site();
    UNDERSTUDY_TRY(release_holds(work));
    auto snapshot =
        UNDERSTUDY_VALUE(site.catalog.snapshot(memo_of(work).snapshot.value_or(SnapshotId{})));
    auto vm = UNDERSTUDY_VALUE(site.catalog.vm(snapshot.vm));
    auto& result = result_of(work);
    result.kind = memo_of(work).kind;
    result.vm = vm.name;
    result.vm_id = vm.id;
    result.snapshot = snapshot;
    result.owner = cluster_name(site, vm.ownership.owner);
    result.new_vm = is_new_vm(work);
    result.started = false;
    result.changes = memo_of(work).changes;
    if (!is_new_vm(work) || vm.head_parent == snapshot.id) return {};
    auto heads = UNDERSTUDY_VALUE(
        activate_disks(site, snapshot.disks, snapshot.id, ports::ActivationKind::promote));
    auto changes =
        UNDERSTUDY_VALUE(define_from_snapshot(work, snapshot, heads, site.cluster.id, {}));
    vm.head_parent = snapshot.id;
    return site.catalog.save_vm(vm);
}

// A new VM that could not be given to libvirt was never anybody's: all of it goes again.
Result<> undo_new_vm(Work& work, const model::Snapshot& snapshot) {
    auto& site = work.site();
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(snapshot.vm));
    if (!vm || vm->head_parent == snapshot.id) return {};
    auto presence = UNDERSTUDY_VALUE(presence_of(site, snapshot.vm));
    if (presence == Presence::running) return {};
    if (presence == Presence::stopped) UNDERSTUDY_TRY(site.hypervisor.undefine(snapshot.vm));
    UNDERSTUDY_TRY(site.catalog.remove_vm(snapshot.vm));
    for (const auto& disk : snapshot.disks) {
        auto pool = UNDERSTUDY_VALUE(site.pool(disk.pool));
        UNDERSTUDY_TRY(pool->forget(disk.volume, true));
    }
    return {};
}

Result<> start(Work& work) {
    if (!is_new_vm(work) || !arguments_of(work).start) return {};
    UNDERSTUDY_TRY(start_made_vm(work, arguments_of(work).vm, arguments_of(work).name));
    result_of(work).started = true;
    return {};
}

Result<> clean_up(Work& work) {
    auto& site = work.site();
    const auto transfer = memo_of(work).transfer;
    const auto id = memo_of(work).snapshot.value_or(SnapshotId{});
    UNDERSTUDY_TRY(release_holds(work));
    if (!transfer) return {};
    auto listed = UNDERSTUDY_VALUE(site.catalog.find_snapshot(id));
    if (listed) {
        UNDERSTUDY_TRY(site.catalog.remove_transfer(*transfer));
        if (is_new_vm(work)) UNDERSTUDY_TRY(undo_new_vm(work, *listed));
    } else {
        auto mine = UNDERSTUDY_VALUE(transfer_of(work));
        if (mine) UNDERSTUDY_TRY(end_receiving(site, mine->request.vm));
    }
    work.begin_again();
    return {};
}

}  // namespace

Kind snapshot_import() {
    return {
        .name = kSnapshotImport,
        .records = records_of<SnapshotImportArguments, SnapshotImportMemo, SnapshotImportResult>(),
        .steps = {{.name = "check", .run = check},
                  {.name = "receive", .run = receive},
                  {.name = "publish", .run = publish, .must_go_on = true},
                  {.name = "define", .run = define, .must_go_on = true},
                  {.name = "start", .run = start, .must_go_on = true}},
        .on_failure = clean_up};
}

}  // namespace understudy::tasks
