#pragma once

#include "model/cluster.hpp"
#include "ports/catalog.hpp"
#include "ports/directories.hpp"
#include "ports/disk_file.hpp"
#include "ports/evidence.hpp"
#include "ports/hypervisor.hpp"
#include "ports/peer_link.hpp"
#include "ports/start_guard.hpp"
#include "ports/storage.hpp"
#include "ports/world.hpp"
#include "tasks/queue/bell.hpp"
#include "tasks/queue/link_memory.hpp"
#include "tasks/queue/offer_gate.hpp"
#include "tasks/queue/point.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace understudy::tasks {

struct DrillSettings {
    Duration limit{300'000};      // for a guest to boot in
    Duration min_uptime{60'000};  // how long a guest must run if nothing in it can be asked
    std::string console;          // a pattern on the console that means booted; empty: none
    std::size_t at_once = 2;      // copies that run on this node
};

// How old the newest point of a replica may be.
struct RecoverySettings {
    Duration rpo_target = std::chrono::hours(24);
    std::map<std::string, Duration> rpo_targets;  // of VMs by name or UUID
};

struct SiteSettings {
    std::string node = "node";    // this daemon's name in leases
    std::string default_pool;     // for replicas whose pool is not mapped, and for new disks
    Duration freeze_limit{5000};  // the longest time a guest's file systems stay frozen
    std::size_t channels = 2;     // connections per transfer unless a send says otherwise
    Duration handover_patience{120'000};  // how long a move waits until the VM runs there
    bool takes_handovers = true;      // a peer may hand a VM over; false: not without an operator
    bool threads = true;              // false: a simulation drives everything from one thread
    Duration checkpoint_every{2000};  // how often a receiver makes the received data durable
    ByteSize checkpoint_bytes = base::MiB(256);
    DrillSettings drill{};
    RecoverySettings recovery{};
    Duration link_patience{60'000};  // a channel that moves nothing for so long is broken
    PointHook at_point;              // none but in a test
};

// What tasks work with on this cluster. Owned by daemon/ (or a simulation) and outlives all tasks;
// `pools` does not change after start.
struct Site {
    model::Cluster cluster;
    SiteSettings settings;
    ports::Catalog& catalog;
    ports::Hypervisor& hypervisor;
    ports::PeerLinks& peers;
    ports::Clock& clock;
    ports::Random& random;
    std::map<std::string, std::shared_ptr<ports::StoragePool>> pools;
    std::shared_ptr<Bells> bells = std::make_shared<Bells>();
    std::shared_ptr<LinkMemory> link_memory = std::make_shared<LinkMemory>();
    // Held while a peer's question for digests is answered.
    std::shared_ptr<std::mutex> digesting = std::make_shared<std::mutex>();
    std::shared_ptr<OfferGate> offers = std::make_shared<OfferGate>();
    // Where exports go and come from, and the kinds of file in them, by name ("qcow2", "rbd").
    std::shared_ptr<ports::Directories> directories = nullptr;
    std::map<std::string, std::shared_ptr<ports::DiskFormat>> formats = {};
    std::shared_ptr<ports::StartGuard> guard = nullptr;   // none in a simulation
    std::shared_ptr<ports::Evidence> evidence = nullptr;  // none: nothing is kept

    // not_found names the pools that there are.
    Result<ports::StoragePool*> pool(const std::string& name) const;
};

// The name of a cluster for people: this one's, a peer's, or its id when it is not known.
std::string cluster_name(Site& site, const ClusterId& id);

}  // namespace understudy::tasks
