#pragma once

#include "catalog/database.hpp"
#include "ports/catalog.hpp"

namespace understudy::catalog {

// The port on SQL. The methods are declared in groups by the file that has them. `database` must be
// connected and have this program's schema version.
class SqlCatalog : public ports::Catalog {
public:
    explicit SqlCatalog(std::unique_ptr<Database> database) : db_(std::move(database)) {}

    // cluster.cpp
    Result<std::optional<model::Cluster>> find_cluster() override;
    Result<> save_cluster(const model::Cluster&) override;
    Result<std::vector<model::Peer>> peers() override;
    Result<model::Peer> peer(const ClusterId&) override;
    Result<std::optional<model::Peer>> find_peer_by_fingerprint(const std::string&) override;
    Result<> save_peer(const model::Peer&) override;
    Result<> touch_peer(const ClusterId&, TimePoint contact, const model::Capabilities&) override;
    Result<> remove_peer(const ClusterId&) override;
    Result<> add_invite(const std::string& secret_hash, TimePoint expires) override;
    Result<bool> take_invite(const std::string& secret_hash, TimePoint now) override;

    // vms.cpp
    Result<std::vector<model::Vm>> vms() override;
    Result<model::Vm> vm(const VmId&) override;
    Result<std::optional<model::Vm>> find_vm(const VmId&) override;
    Result<> save_vm(const model::Vm&) override;
    Result<> set_ownership(const VmId&, const model::Ownership& expected,
                           const model::Ownership& next, const model::Event&) override;
    Result<> remove_vm(const VmId&) override;

    // snapshots.cpp
    Result<std::vector<model::Snapshot>> snapshots(const VmId&) override;
    Result<model::Snapshot> snapshot(const SnapshotId&) override;
    Result<std::optional<model::Snapshot>> find_snapshot(const SnapshotId&) override;
    Result<model::Definition> definition(const SnapshotId&) override;
    Result<> publish_snapshot(const model::Vm&, const model::Snapshot&, const model::Definition&,
                              const std::vector<model::Hold>&,
                              std::optional<TransferId> ends) override;
    Result<> remove_snapshot(const SnapshotId&) override;

    // holds.cpp
    Result<std::vector<model::Hold>> holds(const VmId&) override;
    Result<> add_hold(const model::Hold&) override;
    Result<> remove_hold(const model::Hold&) override;
    Result<> move_base_hold(const VmId&, const ClusterId& peer, const SnapshotId&) override;
    Result<> save_replication(const model::Replication&) override;
    Result<std::vector<model::Replication>> replications(std::optional<VmId>) override;

    // vms.cpp, too
    Result<> record_holders(const VmId&, const std::vector<ClusterId>&) override;
    Result<std::vector<ClusterId>> holders(const VmId&) override;

    // proof.cpp
    Result<> note_sent(const ClusterId& peer, const SnapshotId&) override;
    Result<bool> was_sent(const ClusterId& peer, const SnapshotId&) override;
    Result<> save_verification(const model::Verification&) override;
    Result<std::vector<model::Verification>> verifications(std::optional<VmId>) override;
    Result<> save_drill(const model::Drill&) override;
    Result<std::vector<model::Drill>> drills(std::optional<VmId>) override;

    // transfers.cpp
    Result<> add_transfer(const model::Transfer&) override;
    Result<model::Transfer> transfer(const TransferId&) override;
    Result<std::optional<model::Transfer>> find_transfer(const VmId&, const SnapshotId&) override;
    Result<std::vector<model::Transfer>> transfers() override;
    Result<> save_durable(const TransferId&, const model::DurablePoint&, ByteSize received,
                          TimePoint updated) override;
    Result<> remove_transfer(const TransferId&) override;

    // tasks.cpp
    Result<> add_task(const model::Task&) override;
    Result<model::Task> task(const TaskId&) override;
    Result<std::vector<model::Task>> tasks(const ports::TaskFilter&) override;
    Result<std::vector<model::Task>> active_tasks(const std::optional<VmId>&) override;
    Result<std::vector<model::Task>> unfinished_tasks(const VmId&) override;
    Result<std::vector<model::Task>> tasks_of_kind(const VmId&, const std::string& kind) override;
    Result<std::vector<std::string>> task_arguments(const VmId&,
                                                    const std::vector<std::string>& kinds,
                                                    const std::string& argument) override;
    Result<std::optional<model::Task>> claim_task(const std::string& node, TimePoint now,
                                                  Duration lease,
                                                  const ports::ClaimExcept& except) override;
    Result<> release_task(const model::Task& outcome, const std::string& node) override;
    Result<> request_cancel(const TaskId&, TimePoint now) override;
    Result<> retry_task(const TaskId&, TimePoint now) override;

    // events.cpp
    Result<> add_event(const model::Event&) override;
    Result<std::int64_t> last_event() override;
    Result<std::vector<model::Event>> events(std::int64_t after, std::size_t limit) override;
    Result<std::optional<std::int64_t>> first_broken_event() override;

    // task_upkeep.cpp
    Result<> renew_lease(const TaskId&, const std::string& node, TimePoint until) override;
    Result<> save_step(const TaskId&, const std::string& node, const std::string& step,
                       const std::string& memo) override;
    Result<> save_progress(const TaskId&, const std::string& node, const model::Progress&) override;
    Result<> append_log(const TaskId&, TimePoint, const std::string& text) override;
    Result<std::vector<model::TaskLogLine>> task_log(const TaskId&, std::int64_t after,
                                                     std::size_t limit) override;

private:
    std::unique_ptr<Database> db_;
};

// Statements that several of these files share. To be called inside Database::write only.
// upsert_vm does not change the ownership of a VM that is there already, and its autostart only
// with as_given.
enum class Autostart { as_stored, as_given };
void upsert_vm(Database&, const model::Vm&, Autostart);
void append_event(Database&, model::Event);
void end_transfer(Database&, const TransferId&);     // and its holds
Result<> place_hold(Database&, const model::Hold&);  // a base hold is moved from where it was
Result<> lost_lease(Database&, const TaskId&, const std::string& node);  // conflict or not_found

}  // namespace understudy::catalog
