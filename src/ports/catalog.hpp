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

// A page for people. What a rule depends on must be known completely: it asks active_tasks and its
// neighbours.
struct TaskFilter {
    std::optional<VmId> vm = std::nullopt;
    bool active_only = false;  // queued or running
    std::size_t limit = 200;   // newest first
};

// Tasks that a worker leaves to others.
struct ClaimExcept {
    std::vector<std::string> kinds = {};
    bool reading = false;  // also those that only read
};

// A cluster's durable memory, shared by its nodes. Thread-safe. Every method is one transaction:
// it happened whole and survives power loss, or not at all. Names of methods that look something
// up: X() gives not_found, find_x() gives nothing.
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
    virtual Result<> remove_peer(const ClusterId&) = 0;  // and its base holds and replication
    virtual Result<> add_invite(const std::string& secret_hash, TimePoint expires) = 0;
    // Uses an invite up: true once per invite, if it has not expired. Expired ones are deleted.
    virtual Result<bool> take_invite(const std::string& secret_hash, TimePoint now) = 0;

    virtual Result<std::vector<model::Vm>> vms() = 0;  // by name
    virtual Result<model::Vm> vm(const VmId&) = 0;
    virtual Result<std::optional<model::Vm>> find_vm(const VmId&) = 0;
    // Inserts, or replaces everything but the ownership.
    virtual Result<> save_vm(const model::Vm&) = 0;
    // conflict unless the stored ownership equals `expected`. The event is recorded with it.
    virtual Result<> set_ownership(const VmId&, const model::Ownership& expected,
                                   const model::Ownership& next, const model::Event&) = 0;
    virtual Result<> remove_vm(const VmId&) = 0;  // with all that refers to it
    // Other clusters that have snapshots of the VM, by the word of one that shares it; gone with
    // the VM or the peer. Idempotent; of a VM that is not here nothing is noted.
    virtual Result<> record_holders(const VmId&, const std::vector<ClusterId>&) = 0;
    virtual Result<std::vector<ClusterId>> holders(const VmId&) = 0;

    virtual Result<std::vector<model::Snapshot>> snapshots(const VmId&) = 0;  // sort_by_lineage
    virtual Result<model::Snapshot> snapshot(const SnapshotId&) = 0;
    virtual Result<std::optional<model::Snapshot>> find_snapshot(const SnapshotId&) = 0;
    virtual Result<model::Definition> definition(const SnapshotId&) = 0;
    // Makes a snapshot exist: its row, definition, the VM's record (its disks, and its ownership
    // when the VM is new), the given holds, and the end of the transfer that brought it with what
    // that held, all at once. Repeating it for a published id changes nothing. conflict: the
    // name is taken. refused: a transfer ends, but the VM is owned here by now; of a superseded
    // VM the record stays as it is.
    virtual Result<> publish_snapshot(const model::Vm&, const model::Snapshot&,
                                      const model::Definition&, const std::vector<model::Hold>&,
                                      std::optional<TransferId> ends) = 0;
    // Unlists a snapshot; its children get its parent. refused: it is held (the text says by what).
    virtual Result<> remove_snapshot(const SnapshotId&) = 0;

    virtual Result<std::vector<model::Hold>> holds(const VmId&) = 0;
    virtual Result<> add_hold(const model::Hold&) = 0;     // idempotent; not_found: snapshot
    virtual Result<> remove_hold(const model::Hold&) = 0;  // idempotent
    // The base hold of (vm, peer) moves to this snapshot, whatever it was on; and the source's
    // record of how far the peer is.
    virtual Result<> move_base_hold(const VmId&, const ClusterId& peer, const SnapshotId&) = 0;
    virtual Result<> save_replication(const model::Replication&) = 0;  // moves the base hold too
    virtual Result<std::vector<model::Replication>> replications(std::optional<VmId>) = 0;

    // Which snapshots a peer was sent, whatever else was sent to it later; gone with the snapshot,
    // the VM or the peer.
    virtual Result<> note_sent(const ClusterId& peer, const SnapshotId&) = 0;  // idempotent
    virtual Result<bool> was_sent(const ClusterId& peer, const SnapshotId&) = 0;
    // The latest comparison of a snapshot with its source; gone with the snapshot. not_found: there
    // is no such snapshot (any more).
    virtual Result<> save_verification(const model::Verification&) = 0;
    // Of a VM, or of all; the latest first.
    virtual Result<std::vector<model::Verification>> verifications(std::optional<VmId>) = 0;
    // The latest rehearsal of a VM; gone with the VM. not_found: there is no such VM (any more).
    virtual Result<> save_drill(const model::Drill&) = 0;
    virtual Result<std::vector<model::Drill>> drills(std::optional<VmId>) = 0;  // or of all

    // Also holds the transfer's bases, those that are here, until the transfer ends.
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
    // All of them, however many there are, newest first. Queued or running, of one VM or of all:
    virtual Result<std::vector<model::Task>> active_tasks(const std::optional<VmId>&) = 0;
    // Those of one VM that have not succeeded, ended or not:
    virtual Result<std::vector<model::Task>> unfinished_tasks(const VmId&) = 0;
    // Those of one VM and kind, whatever became of them:
    virtual Result<std::vector<model::Task>> tasks_of_kind(const VmId&,
                                                           const std::string& kind) = 0;
    // The different texts that an argument has in a VM's tasks of these kinds.
    virtual Result<std::vector<std::string>> task_arguments(const VmId&,
                                                            const std::vector<std::string>& kinds,
                                                            const std::string& argument) = 0;
    // Claims the oldest runnable task (queued and due, or running with a lapsed lease) whose VM has
    // no other running task with a valid lease; it becomes running, attempts + 1. Tasks that only
    // read neither wait for the VM's others nor keep them waiting.
    virtual Result<std::optional<model::Task>> claim_task(const std::string& node, TimePoint now,
                                                          Duration lease,
                                                          const ClaimExcept& except) = 0;
    // The four below give conflict when `node` no longer holds the lease.
    virtual Result<> renew_lease(const TaskId&, const std::string& node, TimePoint until) = 0;
    virtual Result<> save_step(const TaskId&, const std::string& node, const std::string& step,
                               const std::string& memo) = 0;
    virtual Result<> save_progress(const TaskId&, const std::string& node,
                                   const model::Progress&) = 0;
    // Ends it (succeeded, failed, cancelled) or puts it back (queued, with not_before).
    virtual Result<> release_task(const model::Task& outcome, const std::string& node) = 0;
    // A queued one that never ran ends at once; any other is asked to, and one that waits for its
    // next attempt is due now, so that what it left behind is cleaned up.
    virtual Result<> request_cancel(const TaskId&, TimePoint now) = 0;
    virtual Result<> retry_task(const TaskId&,
                                TimePoint now) = 0;  // conflict: not failed/cancelled
    // Events are only ever added; the catalog numbers and chains them.
    virtual Result<> add_event(const model::Event&) = 0;
    virtual Result<std::int64_t> last_event() = 0;  // its sequence; 0: none yet
    virtual Result<std::vector<model::Event>> events(std::int64_t after, std::size_t limit) = 0;
    // The sequence of the first one that is not as it was recorded, or is gone.
    virtual Result<std::optional<std::int64_t>> first_broken_event() = 0;
    virtual Result<> append_log(const TaskId&, TimePoint, const std::string& text) = 0;
    virtual Result<std::vector<model::TaskLogLine>> task_log(const TaskId&, std::int64_t after,
                                                             std::size_t limit) = 0;
};

}  // namespace understudy::ports
