#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

// Holds, which keep snapshots from being removed, and replications, the source's record of how far
// a peer is. Each pair of VM and peer has at most one base hold: when it is put on a snapshot, the
// same transaction takes it from where it was. The schema forbids a second one. It also forbids the
// removal of a held snapshot.

namespace understudy::catalog {
namespace {

model::Hold read_hold(Row& row) {
    model::Hold hold;
    hold.snapshot = row.id<SnapshotId>();
    hold.kind = Row::valid(model::hold_kind_from(row.text()));
    hold.detail = row.text();
    return hold;
}

#define UNDERSTUDY_REPLICATIONS \
    "SELECT vm, peer, snapshot, snapshot_taken, sent, readiness FROM replications "
constexpr Query kReplications(UNDERSTUDY_REPLICATIONS "ORDER BY vm, peer", "tttnnt");
constexpr Query kReplicationsOfVm(UNDERSTUDY_REPLICATIONS "WHERE vm = :vm ORDER BY peer", "tttnnt");
#undef UNDERSTUDY_REPLICATIONS

model::Replication read_replication(Row& row) {
    model::Replication replication;
    replication.vm = row.id<VmId>();
    replication.peer = row.id<ClusterId>();
    replication.snapshot = row.id<SnapshotId>();
    replication.snapshot_taken = row.time();
    replication.sent = row.time();
    replication.readiness = row.text();
    return replication;
}

std::optional<VmId> vm_of(Database& db, const SnapshotId& id) {
    return db.one(
        {"SELECT vm FROM snapshots WHERE id = :id", "t"}, {id},
        +[](Row& row) { return row.id<VmId>(); });
}

Result<> put_base_hold(Database& db, const VmId& vm, const std::string& peer,
                       const SnapshotId& snapshot) {
    if (vm_of(db, snapshot) != vm)
        return fail(ErrorKind::not_found,
                    fmt::format("VM {} has no snapshot {}", vm.text(), snapshot.text()));
    db.run("DELETE FROM holds WHERE vm = :vm AND kind = 'base' AND detail = :peer", {vm, peer});
    db.run("INSERT INTO holds (snapshot, vm, kind, detail) VALUES (:snapshot, :vm, 'base', :peer)",
           {snapshot, vm, peer});
    return {};
}

}  // namespace

Result<> place_hold(Database& db, const model::Hold& hold) {
    const auto vm = vm_of(db, hold.snapshot);
    if (!vm)
        return fail(ErrorKind::not_found,
                    fmt::format("there is no snapshot {} to be held", hold.snapshot.text()));
    if (hold.kind == model::HoldKind::base)
        return put_base_hold(db, *vm, hold.detail, hold.snapshot);
    db.run(
        "INSERT INTO holds (snapshot, vm, kind, detail) VALUES (:snapshot, :vm, :kind, :detail)"
        " ON CONFLICT (snapshot, kind, detail) DO NOTHING",
        {hold.snapshot, *vm, model::to_string(hold.kind), hold.detail});
    return {};
}

Result<std::vector<model::Hold>> SqlCatalog::holds(const VmId& vm) {
    return db_->read([&]() -> Result<std::vector<model::Hold>> {
        return db_->all({"SELECT h.snapshot, h.kind, h.detail FROM holds h"
                         " JOIN snapshots s ON s.id = h.snapshot WHERE h.vm = :vm"
                         " ORDER BY s.taken, s.ordinal, h.kind, h.detail",
                         "ttt"},
                        {vm}, read_hold);
    });
}

Result<> SqlCatalog::add_hold(const model::Hold& hold) {
    return db_->write([&] { return place_hold(*db_, hold); });
}

Result<> SqlCatalog::remove_hold(const model::Hold& hold) {
    return db_->write([&]() -> Result<> {
        db_->run(
            "DELETE FROM holds WHERE snapshot = :snapshot AND kind = :kind AND detail = :detail",
            {hold.snapshot, model::to_string(hold.kind), hold.detail});
        return {};
    });
}

Result<> SqlCatalog::move_base_hold(const VmId& vm, const ClusterId& peer,
                                    const SnapshotId& snapshot) {
    return db_->write([&] { return put_base_hold(*db_, vm, peer.text(), snapshot); });
}

Result<> SqlCatalog::save_replication(const model::Replication& replication) {
    return db_->write([&]() -> Result<> {
        UNDERSTUDY_TRY(
            put_base_hold(*db_, replication.vm, replication.peer.text(), replication.snapshot));
        db_->run(
            "INSERT INTO replications (vm, peer, snapshot, snapshot_taken, sent, readiness)"
            " VALUES (:vm, :peer, :snapshot, :snapshot_taken, :sent, :readiness)"
            " ON CONFLICT (vm, peer) DO UPDATE SET snapshot = excluded.snapshot,"
            " snapshot_taken = excluded.snapshot_taken, sent = excluded.sent,"
            " readiness = excluded.readiness",
            {replication.vm, replication.peer, replication.snapshot, replication.snapshot_taken,
             replication.sent, replication.readiness});
        return {};
    });
}

Result<std::vector<model::Replication>> SqlCatalog::replications(std::optional<VmId> vm) {
    return db_->read([&]() -> Result<std::vector<model::Replication>> {
        if (vm) return db_->all(kReplicationsOfVm, {*vm}, read_replication);
        return db_->all(kReplications, {}, read_replication);
    });
}

}  // namespace understudy::catalog
