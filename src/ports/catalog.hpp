#pragma once

#include "model/cluster.hpp"
#include "model/drill.hpp"
#include "model/event.hpp"
#include "model/proof.hpp"
#include "model/snapshot.hpp"
#include "model/task.hpp"
#include "model/transfer.hpp"
#include "model/vm.hpp"

#include <optional>
#include <string>
#include <vector>

namespace understudy::ports {

// One page of tasks, to be shown to people. A rule must not decide from a page, because it must
// know all tasks: it calls active_tasks, unfinished_tasks, tasks_of_kind or task_arguments.
struct TaskFilter {
    std::optional<VmId> vm = std::nullopt;
    bool active_only = false;  // queued or running
    std::size_t limit = 200;   // newest first
};

// Tasks that this worker does not claim, so that others do.
struct ClaimExcept {
    std::vector<std::string> kinds = {};
    bool reading = false;  // true: tasks that only read are left to others, too
};

// A cluster's durable memory, shared by its nodes. Thread-safe. Every method is one transaction: on
// success all of it is done and survives a power loss; after an error nothing of it is done. If
// there is no such thing, x() gives not_found and find_x() gives nothing.
class Catalog {
public:
    virtual ~Catalog() = default;

    virtual Result<std::optional<model::Cluster>> find_cluster() = 0;
    virtual Result<> save_cluster(const model::Cluster&) = 0;  // conflict: another one is there

    virtual Result<std::vector<model::Peer>> peers() = 0;
    virtual Result<model::Peer> peer(const ClusterId&) = 0;
    virtual Result<std::optional<model::Peer>> find_peer_by_fingerprint(const std::string&) = 0;
    virtual Result<> save_peer(const model::Peer&) = 0;  // inserts or replaces
    virtual Result<> touch_peer(const ClusterId&, TimePoint contact,
                                const model::Capabilities&) = 0;
    // Removes the peer with its base holds, its replications, what note_sent recorded for it and
    // what record_holders recorded of it. Idempotent.
    virtual Result<> remove_peer(const ClusterId&) = 0;
    virtual Result<> add_invite(const std::string& secret_hash, TimePoint expires) = 0;
    // Uses up an invite: true only the first time, and only if the invite has not expired. Expired
    // invites are deleted.
    virtual Result<bool> take_invite(const std::string& secret_hash, TimePoint now) = 0;

    virtual Result<std::vector<model::Vm>> vms() = 0;  // by name
    virtual Result<model::Vm> vm(const VmId&) = 0;
    virtual Result<std::optional<model::Vm>> find_vm(const VmId&) = 0;
    // Inserts, or replaces everything but the ownership.
    virtual Result<> save_vm(const model::Vm&) = 0;
    // conflict: the stored ownership is not `expected`. The event is recorded in the same
    // transaction.
    virtual Result<> set_ownership(const VmId&, const model::Ownership& expected,
                                   const model::Ownership& next, const model::Event&) = 0;
    virtual Result<> remove_vm(const VmId&) = 0;  // with all that refers to it
    // Records other clusters that have snapshots of the VM, as a cluster that shares it has told.
    // The records are removed with the VM or with the peer. Idempotent. If the VM is not here,
    // nothing is recorded.
    virtual Result<> record_holders(const VmId&, const std::vector<ClusterId>&) = 0;
    virtual Result<std::vector<ClusterId>> holders(const VmId&) = 0;

    virtual Result<std::vector<model::Snapshot>> snapshots(const VmId&) = 0;  // sort_by_lineage
    virtual Result<model::Snapshot> snapshot(const SnapshotId&) = 0;
    virtual Result<std::optional<model::Snapshot>> find_snapshot(const SnapshotId&) = 0;
    virtual Result<model::Definition> definition(const SnapshotId&) = 0;
    // Makes a snapshot exist. One transaction writes its row, its definition, the VM's record and
    // the given holds. If the VM is known, its record gets the name, the disks and the head_parent
    // of the given one, and keeps its ownership and autostart. If a transfer brought the snapshot,
    // `ends` names it, and the same transaction removes it with its holds. If the snapshot is
    // published already, nothing changes.
    // conflict: another snapshot of the VM has the name. refused: `ends` is given, but by now the
    // VM is owned here or being handed over. If `ends` is given and the VM is superseded here, the
    // VM's record stays as it is.
    virtual Result<> publish_snapshot(const model::Vm&, const model::Snapshot&,
                                      const model::Definition&, const std::vector<model::Hold>&,
                                      std::optional<TransferId> ends) = 0;
    // Removes a snapshot's row and definition. Its children get its parent, and so does a head that
    // was made on it. refused: it is held; the text says by what. Idempotent.
    virtual Result<> remove_snapshot(const SnapshotId&) = 0;

    virtual Result<std::vector<model::Hold>> holds(const VmId&) = 0;
    // Idempotent. not_found: there is no such snapshot.
    virtual Result<> add_hold(const model::Hold&) = 0;
    virtual Result<> remove_hold(const model::Hold&) = 0;  // idempotent
    // Moves the base hold of (vm, peer) to this snapshot, from whichever one had it. not_found: it
    // is no snapshot of the VM.
    virtual Result<> move_base_hold(const VmId&, const ClusterId& peer, const SnapshotId&) = 0;
    // Records how far the peer is with a VM, in place of an earlier record, and moves the base hold
    // to that snapshot.
    virtual Result<> save_replication(const model::Replication&) = 0;
    virtual Result<std::vector<model::Replication>> replications(std::optional<VmId>) = 0;

    // Records that a peer was sent a snapshot. The record stays when newer ones are sent, and is
    // removed with the snapshot, the VM or the peer. Idempotent. If the snapshot is not here,
    // nothing is recorded.
    virtual Result<> note_sent(const ClusterId& peer, const SnapshotId&) = 0;
    virtual Result<bool> was_sent(const ClusterId& peer, const SnapshotId&) = 0;
    // Records the latest comparison of a snapshot with its source, in place of an earlier one. It
    // is removed with the snapshot. not_found: there is no such snapshot (any more).
    virtual Result<> save_verification(const model::Verification&) = 0;
    // The comparisons of a VM, or of all VMs; the latest first.
    virtual Result<std::vector<model::Verification>> verifications(std::optional<VmId>) = 0;
    // Records the latest rehearsal of a VM, in place of an earlier one. It is removed with the VM.
    // not_found: there is no such VM (any more).
    virtual Result<> save_drill(const model::Drill&) = 0;
    virtual Result<std::vector<model::Drill>> drills(std::optional<VmId>) = 0;  // or of all

    // Records the transfer and holds those of its bases that are here, until it ends. conflict:
    // there is a transfer of that snapshot already.
    virtual Result<> add_transfer(const model::Transfer&) = 0;
    virtual Result<model::Transfer> transfer(const TransferId&) = 0;
    virtual Result<std::optional<model::Transfer>> find_transfer(const VmId&,
                                                                 const SnapshotId&) = 0;
    virtual Result<std::vector<model::Transfer>> transfers() = 0;
    virtual Result<> save_durable(const TransferId&, const model::DurablePoint&, ByteSize received,
                                  TimePoint updated) = 0;
    virtual Result<> remove_transfer(const TransferId&) = 0;  // and its holds; idempotent

    virtual Result<> add_task(const model::Task&) = 0;
    virtual Result<model::Task> task(const TaskId&) = 0;
    virtual Result<std::vector<model::Task>> tasks(const TaskFilter&) = 0;
    // The next three give every such task, however many there are, newest first.
    // Those that are queued or running, of one VM or of all VMs:
    virtual Result<std::vector<model::Task>> active_tasks(const std::optional<VmId>&) = 0;
    // Those of one VM that have not succeeded: queued, running, failed or cancelled.
    virtual Result<std::vector<model::Task>> unfinished_tasks(const VmId&) = 0;
    // Those of one VM and kind, in any state:
    virtual Result<std::vector<model::Task>> tasks_of_kind(const VmId&,
                                                           const std::string& kind) = 0;
    // The distinct values of one argument in a VM's tasks of these kinds, as texts. A task without
    // this argument counts as an empty text.
    virtual Result<std::vector<std::string>> task_arguments(const VmId&,
                                                            const std::vector<std::string>& kinds,
                                                            const std::string& argument) = 0;
    // Claims the runnable task that has been due for the longest time: it becomes running, is
    // leased to `node` until now + lease, and its attempts grow by 1. Nothing: none is runnable.
    // A task is runnable if it is queued and due, or running with a lapsed lease, and if no other
    // task of its VM is running with a valid lease. A task that only reads does not wait for the
    // VM's other tasks, and they do not wait for it.
    virtual Result<std::optional<model::Task>> claim_task(const std::string& node, TimePoint now,
                                                          Duration lease,
                                                          const ClaimExcept& except) = 0;
    // The next four give conflict if `node` no longer holds the lease.
    virtual Result<> renew_lease(const TaskId&, const std::string& node, TimePoint until) = 0;
    virtual Result<> save_step(const TaskId&, const std::string& node, const std::string& step,
                               const std::string& memo) = 0;
    virtual Result<> save_progress(const TaskId&, const std::string& node,
                                   const model::Progress&) = 0;
    // Ends it (succeeded, failed, cancelled) or puts it back (queued, with not_before).
    virtual Result<> release_task(const model::Task& outcome, const std::string& node) = 0;
    // A queued task that never ran ends at once. Any other gets cancel_requested; if it waits for
    // its next attempt, it is due now, so that what it left behind is cleaned up. conflict: it has
    // succeeded or failed.
    virtual Result<> request_cancel(const TaskId&, TimePoint now) = 0;
    // Queues it again, due now. conflict: it has neither failed nor been cancelled.
    virtual Result<> retry_task(const TaskId&, TimePoint now) = 0;
    // Events are only ever added; the catalog numbers and chains them.
    virtual Result<> add_event(const model::Event&) = 0;
    virtual Result<std::int64_t> last_event() = 0;  // its sequence; 0: none yet
    virtual Result<std::vector<model::Event>> events(std::int64_t after, std::size_t limit) = 0;
    // The sequence of the first event that was changed, or that is missing although later ones
    // exist. If the newest events were removed, that is not noticed.
    virtual Result<std::optional<std::int64_t>> first_broken_event() = 0;
    virtual Result<> append_log(const TaskId&, TimePoint, const std::string& text) = 0;
    virtual Result<std::vector<model::TaskLogLine>> task_log(const TaskId&, std::int64_t after,
                                                             std::size_t limit) = 0;
};

}  // namespace understudy::ports
