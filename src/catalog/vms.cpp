#include "catalog/sql_catalog.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

// The VMs and who owns them; and other clusters that hold snapshots of them. Only set_ownership
// changes the ownership of a VM that is known: it compares with the expected one and records the
// event, in one transaction. remove_vm deletes all that refers to the VM, children first; tasks and
// events stay.

namespace understudy::catalog {
namespace {

using Disks = std::vector<model::VmDisk>;

#define UNDERSTUDY_VMS \
    "SELECT id, name, epoch, owner, phase, autostart, disks, head_parent FROM vms "
constexpr const char* kVmColumns = "ttnttntt";
constexpr Query kVms(UNDERSTUDY_VMS "ORDER BY name, id", kVmColumns);
constexpr Query kVm(UNDERSTUDY_VMS "WHERE id = :id", kVmColumns);
#undef UNDERSTUDY_VMS

model::Vm read_vm(Row& row) {
    model::Vm vm;
    vm.id = row.id<VmId>();
    vm.name = row.text();
    vm.ownership.epoch = row.count();
    vm.ownership.owner = row.id<ClusterId>();
    vm.ownership.phase = Row::valid(model::phase_from(row.text()));
    vm.autostart = row.flag();
    vm.disks = Row::valid(model::parse_json<Disks>(row.text(), "a VM's disks"));
    vm.head_parent = row.maybe_id<SnapshotId>();
    return vm;
}

ClusterId read_holder(Row& row) {
    return row.id<ClusterId>();
}

std::unexpected<Error> no_vm(const VmId& id) {
    return fail(ErrorKind::not_found, fmt::format("there is no VM {}", id.text()));
}

std::string describe(const model::Ownership& ownership) {
    return fmt::format("{} at epoch {} by {}", model::to_string(ownership.phase), ownership.epoch,
                       ownership.owner.text());
}

}  // namespace

void upsert_vm(Database& db, const model::Vm& vm, Autostart autostart) {
    const std::string disks = model::dump_json(vm.disks);
    const auto phase = model::to_string(vm.ownership.phase);
    db.run(
        "INSERT INTO vms (id, name, epoch, owner, phase, autostart, disks, head_parent)"
        " VALUES (:id, :name, :epoch, :owner, :phase, :autostart, :disks, :head_parent)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, disks = excluded.disks,"
        " head_parent = excluded.head_parent",
        {vm.id, vm.name, vm.ownership.epoch, vm.ownership.owner, phase, vm.autostart, disks,
         vm.head_parent});
    if (autostart == Autostart::as_given)
        db.run("UPDATE vms SET autostart = :autostart WHERE id = :id", {vm.autostart, vm.id});
}

Result<std::vector<model::Vm>> SqlCatalog::vms() {
    return db_->read(
        [&]() -> Result<std::vector<model::Vm>> { return db_->all(kVms, {}, read_vm); });
}

Result<model::Vm> SqlCatalog::vm(const VmId& id) {
    return db_->read([&]() -> Result<model::Vm> {
        auto found = db_->one(kVm, {id}, read_vm);
        if (!found) return no_vm(id);
        return std::move(*found);
    });
}

Result<std::optional<model::Vm>> SqlCatalog::find_vm(const VmId& id) {
    return db_->read(
        [&]() -> Result<std::optional<model::Vm>> { return db_->one(kVm, {id}, read_vm); });
}

Result<> SqlCatalog::save_vm(const model::Vm& vm) {
    return db_->write([&]() -> Result<> {
        upsert_vm(*db_, vm, Autostart::as_given);
        return {};
    });
}

Result<> SqlCatalog::set_ownership(const VmId& id, const model::Ownership& expected,
                                   const model::Ownership& next, const model::Event& event) {
    return db_->write([&]() -> Result<> {
        const auto changed = db_->run(
            "UPDATE vms SET epoch = :next_epoch, owner = :next_owner, phase = :next_phase"
            " WHERE id = :id AND epoch = :epoch AND owner = :owner AND phase = :phase",
            {next.epoch, next.owner, model::to_string(next.phase), id, expected.epoch,
             expected.owner, model::to_string(expected.phase)});
        if (changed == 1) {
            append_event(*db_, event);
            return {};
        }
        const auto present = db_->one(kVm, {id}, read_vm);
        if (!present) return no_vm(id);
        return fail(ErrorKind::conflict,
                    fmt::format("VM '{}' is {} here, not {}", present->name,
                                describe(present->ownership), describe(expected)));
    });
}

Result<> SqlCatalog::record_holders(const VmId& id, const std::vector<ClusterId>& holders) {
    return db_->write([&]() -> Result<> {
        if (!db_->one(kVm, {id}, read_vm)) return {};
        for (const auto& holder : holders)
            db_->run(
                "INSERT INTO holders (vm, cluster) VALUES (:vm, :cluster)"
                " ON CONFLICT (vm, cluster) DO NOTHING",
                {id, holder});
        return {};
    });
}

Result<std::vector<ClusterId>> SqlCatalog::holders(const VmId& id) {
    return db_->read([&]() -> Result<std::vector<ClusterId>> {
        return db_->all<ClusterId>(
            {"SELECT cluster FROM holders WHERE vm = :vm ORDER BY cluster", "t"}, {id},
            read_holder);
    });
}

Result<> SqlCatalog::remove_vm(const VmId& id) {
    return db_->write([&]() -> Result<> {
        db_->run("DELETE FROM holds WHERE vm = :vm", {id});
        db_->run("DELETE FROM replications WHERE vm = :vm", {id});
        db_->run("DELETE FROM transfers WHERE vm = :vm", {id});
        db_->run("DELETE FROM snapshots WHERE vm = :vm", {id});  // definitions go with them
        db_->run("DELETE FROM holders WHERE vm = :vm", {id});
        db_->run("DELETE FROM vms WHERE id = :id", {id});
        return {};
    });
}

}  // namespace understudy::catalog
