#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

// Records about proof: which snapshots a peer was sent (what it may ask about), the latest
// comparison of each snapshot with its source, and the latest drill of each VM. A newer one
// replaces the older. Each method is one transaction; the rows are removed with the snapshot or the
// VM.

namespace understudy::catalog {
namespace {

using Ranges = std::vector<model::DiskRange>;

#define UNDERSTUDY_VERIFICATIONS                                                    \
    "SELECT snapshot, vm, source, ended, equal, compared, differing, ranges_found," \
    " ranges FROM verifications "
constexpr const char* kColumns = "tttnnnnnt";
constexpr Query kAll(UNDERSTUDY_VERIFICATIONS "ORDER BY ended DESC, snapshot", kColumns);
constexpr Query kOfVm(UNDERSTUDY_VERIFICATIONS "WHERE vm = :vm ORDER BY ended DESC, snapshot",
                      kColumns);
#undef UNDERSTUDY_VERIFICATIONS

model::Verification read_verification(Row& row) {
    model::Verification found;
    found.snapshot = row.id<SnapshotId>();
    found.vm = row.id<VmId>();
    found.source = row.id<ClusterId>();
    found.ended = row.time();
    found.equal = row.flag();
    found.compared = ByteSize(row.count());
    found.differing = ByteSize(row.count());
    found.ranges_found = row.count();
    found.ranges = Row::valid(model::parse_json<Ranges>(row.text(), "a verification's ranges"));
    return found;
}

#define UNDERSTUDY_DRILLS                                                            \
    "SELECT vm, snapshot, snapshot_name, ended, passed, boot_ms, ready_ms, checked," \
    " outcome, node, evidence FROM drills "
constexpr const char* kDrillColumns = "tttnnnntttt";
constexpr Query kAllDrills(UNDERSTUDY_DRILLS "ORDER BY ended DESC, vm", kDrillColumns);
constexpr Query kDrillOfVm(UNDERSTUDY_DRILLS "WHERE vm = :vm", kDrillColumns);
#undef UNDERSTUDY_DRILLS

model::Drill read_drill(Row& row) {
    model::Drill found;
    found.vm = row.id<VmId>();
    found.snapshot = row.id<SnapshotId>();
    found.snapshot_name = row.text();
    found.ended = row.time();
    found.passed = row.flag();
    found.boot_ms = row.count();
    found.ready_ms = row.count();
    found.check = row.text();
    found.outcome = row.text();
    found.node = row.text();
    found.evidence = row.text();
    return found;
}

bool is_listed(Database& db, const SnapshotId& id) {
    return db.exists({"SELECT 1 FROM snapshots WHERE id = :id", "n"}, {id});
}

}  // namespace

Result<> SqlCatalog::note_sent(const ClusterId& peer, const SnapshotId& snapshot) {
    return db_->write([&]() -> Result<> {
        if (!is_listed(*db_, snapshot)) return {};
        db_->run(
            "INSERT INTO sent_snapshots (peer, snapshot) VALUES (:peer, :snapshot)"
            " ON CONFLICT (peer, snapshot) DO NOTHING",
            {peer, snapshot});
        return {};
    });
}

Result<bool> SqlCatalog::was_sent(const ClusterId& peer, const SnapshotId& snapshot) {
    return db_->read([&]() -> Result<bool> {
        return db_->exists(
            {"SELECT 1 FROM sent_snapshots WHERE peer = :peer AND snapshot = :snapshot", "n"},
            {peer, snapshot});
    });
}

Result<> SqlCatalog::save_verification(const model::Verification& done) {
    const std::string ranges = model::dump_json(done.ranges);
    return db_->write([&]() -> Result<> {
        if (!is_listed(*db_, done.snapshot))
            return fail(ErrorKind::not_found,
                        fmt::format("there is no snapshot {}", done.snapshot.text()));
        db_->run(
            "INSERT INTO verifications (snapshot, vm, source, ended, equal, compared, differing,"
            " ranges_found, ranges) VALUES (:snapshot, :vm, :source, :ended, :equal, :compared,"
            " :differing, :ranges_found, :ranges) ON CONFLICT (snapshot) DO UPDATE SET"
            " vm = excluded.vm, source = excluded.source, ended = excluded.ended,"
            " equal = excluded.equal, compared = excluded.compared,"
            " differing = excluded.differing, ranges_found = excluded.ranges_found,"
            " ranges = excluded.ranges",
            {done.snapshot, done.vm, done.source, done.ended, done.equal, done.compared,
             done.differing, done.ranges_found, ranges});
        return {};
    });
}

Result<std::vector<model::Verification>> SqlCatalog::verifications(std::optional<VmId> vm) {
    return db_->read([&]() -> Result<std::vector<model::Verification>> {
        if (vm) return db_->all(kOfVm, {*vm}, read_verification);
        return db_->all(kAll, {}, read_verification);
    });
}

Result<> SqlCatalog::save_drill(const model::Drill& done) {
    return db_->write([&]() -> Result<> {
        if (!db_->exists({"SELECT 1 FROM vms WHERE id = :id", "n"}, {done.vm}))
            return fail(ErrorKind::not_found, fmt::format("there is no VM {}", done.vm.text()));
        db_->run(
            "INSERT INTO drills (vm, snapshot, snapshot_name, ended, passed, boot_ms, ready_ms,"
            " checked, outcome, node, evidence) VALUES (:vm, :snapshot, :snapshot_name, :ended,"
            " :passed, :boot_ms, :ready_ms, :checked, :outcome, :node, :evidence)"
            " ON CONFLICT (vm) DO UPDATE SET snapshot = excluded.snapshot,"
            " snapshot_name = excluded.snapshot_name, ended = excluded.ended,"
            " passed = excluded.passed, boot_ms = excluded.boot_ms, ready_ms = excluded.ready_ms,"
            " checked = excluded.checked, outcome = excluded.outcome, node = excluded.node,"
            " evidence = excluded.evidence",
            {done.vm, done.snapshot, done.snapshot_name, done.ended, done.passed, done.boot_ms,
             done.ready_ms, done.check, done.outcome, done.node, done.evidence});
        return {};
    });
}

Result<std::vector<model::Drill>> SqlCatalog::drills(std::optional<VmId> vm) {
    return db_->read([&]() -> Result<std::vector<model::Drill>> {
        if (vm) return db_->all(kDrillOfVm, {*vm}, read_drill);
        return db_->all(kAllDrills, {}, read_drill);
    });
}

}  // namespace understudy::catalog
