#pragma once

#include "mover/receiver.hpp"
#include "tasks/site.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace understudy::tasks {

// The target's side of sends: what the peers' API calls. Thread-safe. Every call is idempotent, and
// whatever a crash leaves is taken up by the peer's next offer. A peer reaches only VMs that it
// owns by what both sides know, its own transfers and its own VMs' volumes.
class Receiving {
public:
    // Also tells the site how tasks end what is being received; one per site.
    explicit Receiving(Site& site) : site_(site) {
        site.end_receiving = [this](const VmId& vm, const std::function<Result<>()>& then) {
            return end_receiving(vm, then);
        };
        site.between_offers = [this](const std::function<Result<>()>& then) {
            const std::lock_guard lock(offers_);
            return then();
        };
    }
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;

    // A VM that is none of the peer's business is answered like one that is not here.
    Result<ports::PeerVm> look_up(const ClusterId& from, const VmId& vm);
    Result<ports::PeerVm> look_up_state(const ClusterId& from, const VmId& vm);

    // Begins or goes on with a transfer; whatever attempt was running for it is over. Unfinished
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

    // Ends and removes what is being received for a VM, and does `then` before a new offer for it
    // can come.
    Result<> end_receiving(const VmId& vm, const std::function<Result<>()>& then);

    // Gives up transfers of which nothing has come since then: their source may never come back
    // to them (it released the VM, or is no peer any more).
    Result<> give_up_older_than(TimePoint last_heard);

    // Makes what came durable and ends all attempts; for a clean stop.
    void stop();

private:
    struct Session {
        std::mutex busy;  // one call at a time per transfer
        std::uint64_t attempt = 0;
        std::shared_ptr<mover::Receiver> receiver;
    };

    std::shared_ptr<Session> session(const TransferId&);
    void drop_session(const TransferId&);
    void end_attempt(Session&);
    Result<model::Transfer> transfer_of(const ClusterId& from, const TransferId&);
    Result<model::Transfer> new_transfer(const ClusterId& from, const model::TransferRequest&);
    Result<std::vector<model::SnapshotDisk>> place_disks(const ClusterId& from, const VmId& vm,
                                                         const std::vector<model::SnapshotDisk>&);
    Result<std::unique_ptr<ports::Incoming>> open_disk(const model::Transfer&,
                                                       const model::SnapshotDisk&);
    Result<std::shared_ptr<mover::Receiver>> open_receiver(const model::Transfer&);
    Result<> publish(const model::Transfer&);
    Result<> discard(const model::Transfer&);
    Result<> check_rights(const ClusterId& from, const std::optional<model::Vm>& here,
                          const model::TransferRequest&);
    Result<> check_resync(const model::TransferRequest&);
    void tidy(const VmId&);
    Result<> give_up(const model::Transfer&);
    Result<> give_up_others(const model::TransferRequest&);
    std::vector<model::ReadinessIssue> readiness(const ClusterId& from, const model::Definition&,
                                                 const std::vector<model::SnapshotDisk>&);

    Site& site_;
    std::mutex offers_;  // one offer at a time: no two transfers for one snapshot
    std::mutex mutex_;   // guards sessions_
    std::unordered_map<TransferId, std::shared_ptr<Session>> sessions_;
};

}  // namespace understudy::tasks
