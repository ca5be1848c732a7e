#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

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

}  // namespace understudy::catalog
