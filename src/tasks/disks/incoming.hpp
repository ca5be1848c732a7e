#pragma once

#include "tasks/queue/site.hpp"

#include <functional>
#include <memory>

// Transfers to here, as far as others than the peers' calls deal with them: their disks, and their
// end. All of it is idempotent; what a crash leaves is ended by the next call.
namespace understudy::tasks {

// Opens one disk of a transfer, to write its changes. If the disk was published before a crash, the
// changes are accepted and ignored, because all of them were durable then.
Result<std::unique_ptr<ports::Incoming>> open_incoming_disk(Site& site,
                                                            const model::Transfer& transfer,
                                                            const model::SnapshotDisk& disk);

// Makes the received changes durable and ends the session's attempt. The caller holds `busy`.
void end_attempt(Site& site, IncomingSession& session);

// Ends a transfer and removes what was received for it. The gate is closed, or the transfer's
// source asks.
Result<> give_up(Site& site, const model::Transfer& transfer);

// Does `then` between two offers: none comes meanwhile, and nothing is given up.
Result<> between_offers(Site& site, const std::function<Result<>()>& then);

// Gives up what is being received for a VM, and does `then` before a new offer for it can come.
Result<> end_receiving(Site& site, const VmId& vm, const std::function<Result<>()>& then);
Result<> end_receiving(Site& site, const VmId& vm);

}  // namespace understudy::tasks
