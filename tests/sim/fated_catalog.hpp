#pragma once

#include "fate.hpp"
#include "ports/catalog.hpp"

namespace understudy::sim {

// A catalog whose every call may fail, lose its reply or be the last one of its daemon.
class FatedCatalog final : public ports::Catalog {
public:
    FatedCatalog(ports::Catalog& real, Fate& fate) : real_(real), fate_(fate) {}

    Result<std::optional<model::Cluster>> find_cluster() override {
        return fated(fate_, "catalog.find_cluster", [&] { return real_.find_cluster(); });
    }
    Result<> save_cluster(const model::Cluster& a) override {
        return fated(fate_, "catalog.save_cluster", [&] { return real_.save_cluster(a); });
    }
    Result<std::vector<model::Peer>> peers() override {
        return fated(fate_, "catalog.peers", [&] { return real_.peers(); });
    }
    Result<model::Peer> peer(const ClusterId& a) override {
        return fated(fate_, "catalog.peer", [&] { return real_.peer(a); });
    }
    Result<std::optional<model::Peer>> find_peer_by_fingerprint(const std::string& a) override {
        return fated(fate_, "catalog.find_peer_by_fingerprint",
                     [&] { return real_.find_peer_by_fingerprint(a); });
    }
    Result<> save_peer(const model::Peer& a) override {
        return fated(fate_, "catalog.save_peer", [&] { return real_.save_peer(a); });
    }
    Result<> touch_peer(const ClusterId& a, TimePoint b, const model::Capabilities& c) override {
        return fated(fate_, "catalog.touch_peer", [&] { return real_.touch_peer(a, b, c); });
    }
    Result<> remove_peer(const ClusterId& a) override {
        return fated(fate_, "catalog.remove_peer", [&] { return real_.remove_peer(a); });
    }
    Result<> add_invite(const std::string& a, TimePoint b) override {
        return fated(fate_, "catalog.add_invite", [&] { return real_.add_invite(a, b); });
    }
    Result<bool> take_invite(const std::string& a, TimePoint b) override {
        return fated(fate_, "catalog.take_invite", [&] { return real_.take_invite(a, b); });
    }
    Result<std::vector<model::Vm>> vms() override {
        return fated(fate_, "catalog.vms", [&] { return real_.vms(); });
    }
    Result<model::Vm> vm(const VmId& a) override {
        return fated(fate_, "catalog.vm", [&] { return real_.vm(a); });
    }
    Result<std::optional<model::Vm>> find_vm(const VmId& a) override {
        return fated(fate_, "catalog.find_vm", [&] { return real_.find_vm(a); });
    }
    Result<> save_vm(const model::Vm& a) override {
        return fated(fate_, "catalog.save_vm", [&] { return real_.save_vm(a); });
    }
    Result<> set_ownership(const VmId& a, const model::Ownership& b, const model::Ownership& c,
                           const model::Event& d) override {
        return fated(fate_, "catalog.set_ownership",
                     [&] { return real_.set_ownership(a, b, c, d); });
    }
    Result<> add_event(const model::Event& a) override {
        return fated(fate_, "catalog.add_event", [&] { return real_.add_event(a); });
    }
    Result<std::int64_t> last_event() override { return real_.last_event(); }
    Result<std::vector<model::Event>> events(std::int64_t a, std::size_t b) override {
        return real_.events(a, b);
    }
    Result<std::optional<std::int64_t>> first_broken_event() override {
        return real_.first_broken_event();
    }
    Result<> remove_vm(const VmId& a) override {
        return fated(fate_, "catalog.remove_vm", [&] { return real_.remove_vm(a); });
    }
    Result<std::vector<model::Snapshot>> snapshots(const VmId& a) override {
        return fated(fate_, "catalog.snapshots", [&] { return real_.snapshots(a); });
    }
    Result<model::Snapshot> snapshot(const SnapshotId& a) override {
        return fated(fate_, "catalog.snapshot", [&] { return real_.snapshot(a); });
    }
    Result<std::optional<model::Snapshot>> find_snapshot(const SnapshotId& a) override {
        return fated(fate_, "catalog.find_snapshot", [&] { return real_.find_snapshot(a); });
    }
    Result<model::Definition> definition(const SnapshotId& a) override {
        return fated(fate_, "catalog.definition", [&] { return real_.definition(a); });
    }
    Result<> publish_snapshot(const model::Vm& a, const model::Snapshot& b,
                              const model::Definition& c, const std::vector<model::Hold>& d,
                              std::optional<TransferId> e) override {
        return fated(fate_, "catalog.publish_snapshot",
                     [&] { return real_.publish_snapshot(a, b, c, d, e); });
    }
    Result<> remove_snapshot(const SnapshotId& a) override {
        return fated(fate_, "catalog.remove_snapshot", [&] { return real_.remove_snapshot(a); });
    }
    Result<std::vector<model::Hold>> holds(const VmId& a) override {
        return fated(fate_, "catalog.holds", [&] { return real_.holds(a); });
    }
    Result<> add_hold(const model::Hold& a) override {
        return fated(fate_, "catalog.add_hold", [&] { return real_.add_hold(a); });
    }
    Result<> remove_hold(const model::Hold& a) override {
        return fated(fate_, "catalog.remove_hold", [&] { return real_.remove_hold(a); });
    }
    Result<> move_base_hold(const VmId& a, const ClusterId& b, const SnapshotId& c) override {
        return fated(fate_, "catalog.move_base_hold",
                     [&] { return real_.move_base_hold(a, b, c); });
    }
    Result<> save_replication(const model::Replication& a) override {
        return fated(fate_, "catalog.save_replication", [&] { return real_.save_replication(a); });
    }
    Result<std::vector<model::Replication>> replications(std::optional<VmId> a) override {
        return fated(fate_, "catalog.replications", [&] { return real_.replications(a); });
    }
    Result<> record_holders(const VmId& a, const std::vector<ClusterId>& b) override {
        return fated(fate_, "catalog.record_holders", [&] { return real_.record_holders(a, b); });
    }
    Result<std::vector<ClusterId>> holders(const VmId& a) override {
        return fated(fate_, "catalog.holders", [&] { return real_.holders(a); });
    }
    Result<> note_sent(const ClusterId& a, const SnapshotId& b) override {
        return fated(fate_, "catalog.note_sent", [&] { return real_.note_sent(a, b); });
    }
    Result<bool> was_sent(const ClusterId& a, const SnapshotId& b) override {
        return fated(fate_, "catalog.was_sent", [&] { return real_.was_sent(a, b); });
    }
    Result<> save_verification(const model::Verification& a) override {
        return fated(fate_, "catalog.save_verification",
                     [&] { return real_.save_verification(a); });
    }
    Result<std::vector<model::Verification>> verifications(std::optional<VmId> a) override {
        return fated(fate_, "catalog.verifications", [&] { return real_.verifications(a); });
    }
    Result<> save_drill(const model::Drill& a) override {
        return fated(fate_, "catalog.save_drill", [&] { return real_.save_drill(a); });
    }
    Result<std::vector<model::Drill>> drills(std::optional<VmId> a) override {
        return fated(fate_, "catalog.drills", [&] { return real_.drills(a); });
    }
    Result<> add_transfer(const model::Transfer& a) override {
        return fated(fate_, "catalog.add_transfer", [&] { return real_.add_transfer(a); });
    }
    Result<model::Transfer> transfer(const TransferId& a) override {
        return fated(fate_, "catalog.transfer", [&] { return real_.transfer(a); });
    }
    Result<std::optional<model::Transfer>> find_transfer(const VmId& a,
                                                         const SnapshotId& b) override {
        return fated(fate_, "catalog.find_transfer", [&] { return real_.find_transfer(a, b); });
    }
    Result<std::vector<model::Transfer>> transfers() override {
        return fated(fate_, "catalog.transfers", [&] { return real_.transfers(); });
    }
    Result<> save_durable(const TransferId& a, const model::DurablePoint& b, ByteSize c,
                          TimePoint d) override {
        return fated(fate_, "catalog.save_durable", [&] { return real_.save_durable(a, b, c, d); });
    }
    Result<> remove_transfer(const TransferId& a) override {
        return fated(fate_, "catalog.remove_transfer", [&] { return real_.remove_transfer(a); });
    }
    Result<> add_task(const model::Task& a) override {
        return fated(fate_, "catalog.add_task", [&] { return real_.add_task(a); });
    }
    Result<model::Task> task(const TaskId& a) override {
        return fated(fate_, "catalog.task", [&] { return real_.task(a); });
    }
    Result<std::vector<model::Task>> tasks(const ports::TaskFilter& a) override {
        return fated(fate_, "catalog.tasks", [&] { return real_.tasks(a); });
    }
    Result<std::vector<model::Task>> active_tasks(const std::optional<VmId>& a) override {
        return fated(fate_, "catalog.active_tasks", [&] { return real_.active_tasks(a); });
    }
    Result<std::vector<model::Task>> unfinished_tasks(const VmId& a) override {
        return fated(fate_, "catalog.unfinished_tasks", [&] { return real_.unfinished_tasks(a); });
    }
    Result<std::vector<model::Task>> tasks_of_kind(const VmId& a, const std::string& b) override {
        return fated(fate_, "catalog.tasks_of_kind", [&] { return real_.tasks_of_kind(a, b); });
    }
    Result<std::vector<std::string>> task_arguments(const VmId& a,
                                                    const std::vector<std::string>& b,
                                                    const std::string& c) override {
        return fated(fate_, "catalog.task_arguments",
                     [&] { return real_.task_arguments(a, b, c); });
    }
    Result<std::optional<model::Task>> claim_task(const std::string& a, TimePoint b, Duration c,
                                                  const ports::ClaimExcept& d) override {
        return fated(fate_, "catalog.claim_task", [&] { return real_.claim_task(a, b, c, d); });
    }
    Result<> renew_lease(const TaskId& a, const std::string& b, TimePoint c) override {
        return fated(fate_, "catalog.renew_lease", [&] { return real_.renew_lease(a, b, c); });
    }
    Result<> save_step(const TaskId& a, const std::string& b, const std::string& c,
                       const std::string& d) override {
        return fated(fate_, "catalog.save_step", [&] { return real_.save_step(a, b, c, d); });
    }
    Result<> save_progress(const TaskId& a, const std::string& b,
                           const model::Progress& c) override {
        return fated(fate_, "catalog.save_progress", [&] { return real_.save_progress(a, b, c); });
    }
    Result<> release_task(const model::Task& a, const std::string& b) override {
        return fated(fate_, "catalog.release_task", [&] { return real_.release_task(a, b); });
    }
    Result<> request_cancel(const TaskId& a, TimePoint b) override {
        return fated(fate_, "catalog.request_cancel", [&] { return real_.request_cancel(a, b); });
    }
    Result<> retry_task(const TaskId& a, TimePoint b) override {
        return fated(fate_, "catalog.retry_task", [&] { return real_.retry_task(a, b); });
    }
    Result<> append_log(const TaskId& a, TimePoint b, const std::string& c) override {
        return fated(fate_, "catalog.append_log", [&] { return real_.append_log(a, b, c); });
    }
    Result<std::vector<model::TaskLogLine>> task_log(const TaskId& a, std::int64_t b,
                                                     std::size_t c) override {
        return fated(fate_, "catalog.task_log", [&] { return real_.task_log(a, b, c); });
    }

private:
    ports::Catalog& real_;
    Fate& fate_;
};

}  // namespace understudy::sim
