#pragma once

#include "mover/receiver.hpp"
#include "tasks/queue/site.hpp"

#include <memory>

namespace understudy::tasks {

// The target's side of sends: what the peers' API calls. Thread-safe. Every call is idempotent, and
// whatever a crash leaves is taken up by the peer's next offer. A peer reaches only VMs that it
// owns by what both sides know, its own transfers and its own VMs' volumes.
class Receiving {
public:
    explicit Receiving(Site& site) : site_(site) {}
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;

    // A VM that is none of the peer's business is answered like one that is not here.
    Result<ports::PeerVm> look_up(const ClusterId& from, const VmId& vm);
    Result<ports::PeerVm> look_up_state(const ClusterId& from, const VmId& vm);

    // Begins or goes on with a transfer; an attempt that was running for it has ended. Unfinished
    // transfers of other snapshots of this VM are given up.
    Result<model::TransferOffer> offer(const ClusterId& from, const model::TransferRequest&);

    // The receiver of one attempt, to be fed by one channel. The first channel of an attempt opens
    // the disks. conflict: another attempt is under way, or no such transfer.
    Result<std::shared_ptr<mover::Receiver>> join(const ClusterId& from, const TransferId&,
                                                  std::uint64_t attempt);

    // Publishes: every disk's layer first, then, in one transaction, the snapshot.
    Result<std::vector<model::ReadinessIssue>> commit(const ClusterId& from, const TransferId&,
                                                      std::uint64_t attempt, const model::Totals&);
    Result<> abandon(const ClusterId& from, const TransferId&);

    // Ends and removes every unfinished transfer of a peer; for the end of a pairing.
    Result<> forget(const ClusterId& from);

    // Gives up transfers of which nothing has come since then: their source may never come back
    // to them (it released the VM, or is no peer any more).
    Result<> give_up_older_than(TimePoint last_heard);

    // Makes what came durable and ends all attempts; for a clean stop.
    void stop();

private:
    Result<model::Transfer> transfer_of(const ClusterId& from, const TransferId&);
    Result<model::Transfer> new_transfer(const ClusterId& from, const model::TransferRequest&);
    Result<std::vector<model::SnapshotDisk>> place_disks(const ClusterId& from, const VmId& vm,
                                                         const std::vector<model::SnapshotDisk>&);
    Result<std::shared_ptr<mover::Receiver>> open_receiver(const model::Transfer&);
    Result<> publish(const model::Transfer&);
    Result<> check_rights(const ClusterId& from, const std::optional<model::Vm>& here,
                          const model::TransferRequest&);
    Result<> check_resync(const model::TransferRequest&);
    void tidy(const VmId&);
    Result<> give_up_others(const model::TransferRequest&);
    std::vector<model::ReadinessIssue> readiness(const ClusterId& from, const model::Definition&,
                                                 const std::vector<model::SnapshotDisk>&);

    Site& site_;
};

}  // namespace understudy::tasks
