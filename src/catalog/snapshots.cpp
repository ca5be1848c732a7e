#include "base/base64.hpp"
#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

// Snapshots and their definitions. publish_snapshot makes one exist in one transaction: checks, the
// VM's record, row and definition, holds, the end of its transfer. remove_snapshot refuses while
// there are holds; else it gives children and head the snapshot's parent and deletes the row. After
// a crash either all of such a transaction is there or nothing. Listings are sorted by lineage.

namespace understudy::catalog {
namespace {

using Disks = std::vector<model::SnapshotDisk>;

#define UNDERSTUDY_SNAPSHOTS \
    "SELECT id, vm, name, parent, taken, consistency, epoch, origin, disks FROM snapshots "
constexpr const char* kSnapshotColumns = "ttttntntt";
constexpr Query kSnapshots(UNDERSTUDY_SNAPSHOTS "WHERE vm = :vm ORDER BY taken, ordinal",
                           kSnapshotColumns);
constexpr Query kSnapshot(UNDERSTUDY_SNAPSHOTS "WHERE id = :id", kSnapshotColumns);
#undef UNDERSTUDY_SNAPSHOTS

model::Snapshot read_snapshot(Row& row) {
    model::Snapshot snapshot;
    snapshot.id = row.id<SnapshotId>();
    snapshot.vm = row.id<VmId>();
    snapshot.name = row.text();
    snapshot.parent = row.maybe_id<SnapshotId>();
    snapshot.taken = row.time();
    snapshot.consistency = Row::valid(model::consistency_from(row.text()));
    snapshot.epoch = row.count();
    snapshot.origin = row.id<ClusterId>();
    snapshot.disks = Row::valid(model::parse_json<Disks>(row.text(), "a snapshot's disks"));
    return snapshot;
}

std::unexpected<Error> no_snapshot(const SnapshotId& id) {
    return fail(ErrorKind::not_found, fmt::format("there is no snapshot {}", id.text()));
}

void insert_snapshot(Database& db, const model::Snapshot& snapshot,
                     const model::Definition& definition) {
    const std::string disks = model::dump_json(snapshot.disks);
    db.run(
        "INSERT INTO snapshots (id, vm, name, parent, taken, consistency, epoch, origin, disks,"
        " ordinal) VALUES (:id, :vm, :name, :parent, :taken, :consistency, :epoch, :origin,"
        " :disks, (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM snapshots WHERE vm = :same_vm))",
        {snapshot.id, snapshot.vm, snapshot.name, snapshot.parent, snapshot.taken,
         model::to_string(snapshot.consistency), snapshot.epoch, snapshot.origin, disks,
         snapshot.vm});
    db.run(
        "INSERT INTO definitions (snapshot, domain_xml, nvram)"
        " VALUES (:snapshot, :domain_xml, :nvram)",
        {snapshot.id, definition.domain_xml, base::base64_encode(definition.nvram)});
}

// Who holds a snapshot and how to end that, for an operator who wants to remove the snapshot.
struct Reason {
    std::string held;
    std::string advice;
};

Reason read_reason(Row& row) {
    const auto kind = Row::valid(model::hold_kind_from(row.text()));
    const std::string detail = row.text();
    const std::string peer_name = row.text();
    switch (kind) {
        case model::HoldKind::base: {
            const std::string& peer = peer_name.empty() ? detail : peer_name;
            return {fmt::format("is the base for peer {}", peer),
                    fmt::format("Send a newer snapshot to {}, which moves the base on.", peer)};
        }
        case model::HoldKind::transfer:
            return {fmt::format("is in use by transfer {}", detail),
                    "Wait for the transfer to end, or cancel its task."};
        case model::HoldKind::drill:
            return {fmt::format("is rehearsed by task {}", detail),
                    "Wait for the drill to end, or cancel its task."};
        case model::HoldKind::user:
            return {detail.empty() ? std::string("is held by an operator")
                                   : fmt::format("is held by an operator: {}", detail),
                    "Release the hold first."};
        case model::HoldKind::branch:
            return {fmt::format("holds what was written here alone until epoch {} began", detail),
                    "If nothing of it is needed any more: `understudy vm snapshot remove "
                    "--let-go`."};
    }
    throw BadRow("a hold of no known kind");
}

constexpr Query kReasons(
    "SELECT h.kind, h.detail, COALESCE(p.name, '') FROM holds h"
    " LEFT JOIN peers p ON h.kind = 'base' AND p.id = h.detail"
    " WHERE h.snapshot = :snapshot ORDER BY h.kind, h.detail",
    "ttt");

std::optional<model::Ownership> ownership_of(Database& db, const VmId& id) {
    return db.one(
        {"SELECT epoch, owner, phase FROM vms WHERE id = :id", "ntt"}, {id}, +[](Row& row) {
            model::Ownership ownership;
            ownership.epoch = row.count();
            ownership.owner = row.id<ClusterId>();
            ownership.phase = Row::valid(model::phase_from(row.text()));
            return ownership;
        });
}

// A received snapshot changes the VM's record only if the VM is a replica. If the VM was promoted
// here meanwhile, its former owner cannot change it (refused). If it is superseded, it keeps the
// disks that it ran on.
Result<> take_vm_of_received(Database& db, const model::Vm& vm) {
    const auto here = ownership_of(db, vm.id);
    if (here && (here->phase == model::Phase::owned || here->phase == model::Phase::handing_over))
        return fail(Error(ErrorKind::refused,
                          fmt::format("VM '{}' is owned here at epoch {}", vm.name, here->epoch))
                        .keeping("what was here"));
    if (!here || here->phase == model::Phase::replica) upsert_vm(db, vm, Autostart::as_stored);
    return {};
}

}  // namespace

Result<std::vector<model::Snapshot>> SqlCatalog::snapshots(const VmId& vm) {
    return db_->read([&]() -> Result<std::vector<model::Snapshot>> {
        auto found = db_->all(kSnapshots, {vm}, read_snapshot);
        model::sort_by_lineage(found);
        return found;
    });
}

Result<model::Snapshot> SqlCatalog::snapshot(const SnapshotId& id) {
    return db_->read([&]() -> Result<model::Snapshot> {
        auto found = db_->one(kSnapshot, {id}, read_snapshot);
        if (!found) return no_snapshot(id);
        return std::move(*found);
    });
}

Result<std::optional<model::Snapshot>> SqlCatalog::find_snapshot(const SnapshotId& id) {
    return db_->read([&]() -> Result<std::optional<model::Snapshot>> {
        return db_->one(kSnapshot, {id}, read_snapshot);
    });
}

Result<model::Definition> SqlCatalog::definition(const SnapshotId& id) {
    return db_->read([&]() -> Result<model::Definition> {
        auto found = db_->one(
            {"SELECT domain_xml, nvram FROM definitions WHERE snapshot = :snapshot", "tt"}, {id},
            +[](Row& row) {
                model::Definition definition;
                definition.domain_xml = row.text();
                definition.nvram = Row::valid(base::base64_decode(row.text()));
                return definition;
            });
        if (!found) return no_snapshot(id);
        return std::move(*found);
    });
}

Result<> SqlCatalog::publish_snapshot(const model::Vm& vm, const model::Snapshot& snapshot,
                                      const model::Definition& definition,
                                      const std::vector<model::Hold>& holds,
                                      std::optional<TransferId> ends) {
    if (snapshot.vm != vm.id)
        return fail(ErrorKind::invalid,
                    fmt::format("snapshot {} is not of VM {}", snapshot.id.text(), vm.id.text()));
    return db_->write([&]() -> Result<> {
        if (const auto present = db_->one(kSnapshot, {snapshot.id}, read_snapshot)) {
            if (present->vm == vm.id) return {};
            return fail(ErrorKind::conflict,
                        fmt::format("snapshot {} is one of another VM", snapshot.id.text()));
        }
        const bool name_taken =
            db_->exists({"SELECT 1 FROM snapshots WHERE vm = :vm AND name = :name", "n"},
                        {vm.id, snapshot.name});
        if (name_taken)
            return fail(
                Error(ErrorKind::conflict, fmt::format("VM '{}' has another snapshot named '{}'",
                                                       vm.name, snapshot.name))
                    .advising("Choose another name, or remove that snapshot first."));
        if (ends)
            UNDERSTUDY_TRY(take_vm_of_received(*db_, vm));
        else
            upsert_vm(*db_, vm, Autostart::as_stored);
        insert_snapshot(*db_, snapshot, definition);
        for (const model::Hold& hold : holds) UNDERSTUDY_TRY(place_hold(*db_, hold));
        if (ends) end_transfer(*db_, *ends);
        return {};
    });
}

Result<> SqlCatalog::remove_snapshot(const SnapshotId& id) {
    return db_->write([&]() -> Result<> {
        const auto snapshot = db_->one(kSnapshot, {id}, read_snapshot);
        if (!snapshot) return {};
        const auto reasons = db_->all(kReasons, {id}, read_reason);
        if (!reasons.empty()) {
            std::string held = reasons.front().held;
            for (std::size_t i = 1; i < reasons.size(); ++i) held += " and " + reasons[i].held;
            return fail(
                Error(ErrorKind::refused, fmt::format("snapshot '{}' {}", snapshot->name, held))
                    .advising(reasons.front().advice));
        }
        db_->run("UPDATE snapshots SET parent = :grandparent WHERE parent = :parent",
                 {snapshot->parent, id});
        db_->run("UPDATE vms SET head_parent = :grandparent WHERE head_parent = :parent",
                 {snapshot->parent, id});
        db_->run("DELETE FROM snapshots WHERE id = :id", {id});  // the definition goes with it
        return {};
    });
}

}  // namespace understudy::catalog
