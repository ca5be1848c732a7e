#include "base/base64.hpp"
#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <limits>

// The receiver's records of transfers, one per VM and snapshot. add_transfer also holds the bases
// that are here; end_transfer removes the row and all holds of that transfer, in one transaction.
// After a crash the row has the durable point that was saved last, and the next offer goes on
// there.

namespace understudy::catalog {
namespace {

#define UNDERSTUDY_TRANSFERS                                                                 \
    "SELECT id, source, request, domain_xml, nvram, durable_disk, durable_offset, received," \
    " created, updated FROM transfers "
constexpr const char* kTransferColumns = "tttttnnnnn";
constexpr Query kTransfers(UNDERSTUDY_TRANSFERS "ORDER BY created, id", kTransferColumns);
constexpr Query kTransfer(UNDERSTUDY_TRANSFERS "WHERE id = :id", kTransferColumns);
constexpr Query kTransferOf(UNDERSTUDY_TRANSFERS "WHERE vm = :vm AND snapshot = :snapshot",
                            kTransferColumns);
#undef UNDERSTUDY_TRANSFERS

model::Transfer read_transfer(Row& row) {
    model::Transfer transfer;
    transfer.id = row.id<TransferId>();
    transfer.source = row.id<ClusterId>();
    transfer.request =
        Row::valid(model::parse_json<model::TransferRequest>(row.text(), "a transfer's request"));
    transfer.request.definition.domain_xml = row.text();
    transfer.request.definition.nvram = Row::valid(base::base64_decode(row.text()));
    const std::uint64_t disk = row.count();
    if (disk > std::numeric_limits<std::uint32_t>::max()) throw BadRow("a disk's number");
    transfer.durable.disk = static_cast<std::uint32_t>(disk);
    transfer.durable.offset = ByteOffset(row.count());
    transfer.received = ByteSize(row.count());
    transfer.created = row.time();
    transfer.updated = row.time();
    return transfer;
}

std::unexpected<Error> no_transfer(const TransferId& id) {
    return fail(ErrorKind::not_found, fmt::format("there is no transfer {}", id.text()));
}

}  // namespace

void end_transfer(Database& db, const TransferId& id) {
    db.run("DELETE FROM transfers WHERE id = :id", {id});
    db.run("DELETE FROM holds WHERE kind = 'transfer' AND detail = :id", {id});
}

Result<> SqlCatalog::add_transfer(const model::Transfer& transfer) {
    const model::TransferRequest& request = transfer.request;
    const std::string request_json = model::dump_json(request);
    const std::string nvram = base::base64_encode(request.definition.nvram);
    return db_->write([&]() -> Result<> {
        const bool known = db_->exists({"SELECT 1 FROM transfers WHERE id = :id"
                                        " OR (vm = :vm AND snapshot = :snapshot)",
                                        "n"},
                                       {transfer.id, request.vm, request.snapshot.id});
        if (known)
            return fail(ErrorKind::conflict,
                        fmt::format("snapshot '{}' of VM '{}' is being received already",
                                    request.snapshot.name, request.vm_name));
        db_->run(
            "INSERT INTO transfers (id, source, vm, snapshot, request, domain_xml, nvram,"
            " durable_disk, durable_offset, received, created, updated) VALUES (:id, :source, :vm,"
            " :snapshot, :request, :domain_xml, :nvram, :durable_disk, :durable_offset, :received,"
            " :created, :updated)",
            {transfer.id, transfer.source, request.vm, request.snapshot.id, request_json,
             request.definition.domain_xml, nvram, transfer.durable.disk, transfer.durable.offset,
             transfer.received, transfer.created, transfer.updated});
        std::vector<SnapshotId> bases;
        if (request.base) bases.push_back(*request.base);
        for (const auto& base : request.resync) bases.push_back(base.snapshot);
        for (const auto& base : bases)
            if (db_->exists({"SELECT 1 FROM snapshots WHERE id = :id", "n"}, {base}))
                UNDERSTUDY_TRY(
                    place_hold(*db_, {base, model::HoldKind::transfer, transfer.id.text()}));
        return {};
    });
}

Result<model::Transfer> SqlCatalog::transfer(const TransferId& id) {
    return db_->read([&]() -> Result<model::Transfer> {
        auto found = db_->one(kTransfer, {id}, read_transfer);
        if (!found) return no_transfer(id);
        return std::move(*found);
    });
}

Result<std::optional<model::Transfer>> SqlCatalog::find_transfer(const VmId& vm,
                                                                 const SnapshotId& snapshot) {
    return db_->read([&]() -> Result<std::optional<model::Transfer>> {
        return db_->one(kTransferOf, {vm, snapshot}, read_transfer);
    });
}

Result<std::vector<model::Transfer>> SqlCatalog::transfers() {
    return db_->read([&]() -> Result<std::vector<model::Transfer>> {
        return db_->all(kTransfers, {}, read_transfer);
    });
}

Result<> SqlCatalog::save_durable(const TransferId& id, const model::DurablePoint& durable,
                                  ByteSize received, TimePoint updated) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE transfers SET durable_disk = :disk, durable_offset = :byte_offset,"
            " received = :received, updated = :updated WHERE id = :id",
            {durable.disk, durable.offset, received, updated, id});
        if (changed == 0) return no_transfer(id);
        return {};
    });
}

Result<> SqlCatalog::remove_transfer(const TransferId& id) {
    return db_->write([&]() -> Result<> {
        end_transfer(*db_, id);
        return {};
    });
}

}  // namespace understudy::catalog
