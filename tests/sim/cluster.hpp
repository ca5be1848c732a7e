#pragma once

#include "catalog/open_catalog.hpp"
#include "chance.hpp"
#include "fated_catalog.hpp"
#include "fated_pool.hpp"
#include "stage_hypervisor.hpp"
#include "storage/memory/pool.hpp"
#include "tasks/queue/runner.hpp"
#include "tasks/replicas/receiving.hpp"

#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace understudy::sim {

class World;

// The process of one cluster: everything that is gone when it is killed.
struct Daemon {
    Daemon(World& world, class Cluster& cluster);

    FatedCatalog catalog;
    std::unique_ptr<ports::PeerLinks> links;
    tasks::Site site;
    tasks::Receiving receiving;
    tasks::Runner runner;
};

// One site: production tasks over memory drivers and the real catalog. What its hosts keep over a
// crash (catalog, pool, definitions, running guests) lives here, its process is a Daemon.
class Cluster final : public Fate {
public:
    Cluster(World& world, const std::string& name, memory::MemoryPool::Heads heads);

    const std::string& name() const { return identity_.name; }
    const ClusterId& id() const { return identity_.id; }
    const model::Cluster& identity() const { return identity_; }
    memory::MemoryPool& pool() { return pool_; }
    std::shared_ptr<ports::StoragePool> fated_pool() { return fated_pool_; }
    StageHypervisor& hypervisor() { return hypervisor_; }
    ports::Catalog& catalog() { return *catalog_; }  // as no daemon sees it: without faults
    Locations& locations() { return locations_; }
    HostClock& clock() { return clock_; }
    model::Capabilities capabilities() const;

    // The daemon. A dead one stays where its frames are until they have unwound.
    bool alive() const { return daemon_ && !dead_; }
    bool busy() const { return frames_ > 0; }  // some call of it is on the stack
    void start();
    void kill();        // the daemon, kill -9
    void lose_power();  // the daemon, all VMs and every byte that no flush covered
    // One task to its end, its next pause or its daemon's end. False: there was nothing to do.
    bool run_one();
    void run_all();  // until nothing is due
    Result<> contact(const Cluster& peer);
    // What a peer calls. unavailable: nobody is there, or it died over it.
    template <class Call>
    auto serve(Call call) -> decltype(call(std::declval<Daemon&>()));
    // What an operator calls, by the same rules.
    template <class Call>
    auto operate(Call call) -> decltype(call(std::declval<Daemon&>())) {
        return serve(std::move(call));
    }
    // The daemon dies at the nth such call from now ("catalog.publish_snapshot").
    void die_at(std::string call, bool after = false, unsigned nth = 1);
    void die_at_nth_call(unsigned nth, bool after) { die_at({}, after, nth); }
    void live_on() { doom_.reset(); }
    bool waits_to_die() const { return doom_.has_value(); }

    // The operator. Queued at once, run by run_one(). Nothing: no daemon answers.
    std::optional<TaskId> queue(std::string_view kind, const VmId& vm, const std::string& title,
                                nlohmann::json arguments);
    Result<> start_vm(const VmId& vm);
    Result<> start_by_hand(const VmId& vm);  // `virsh start`, with the hook of Understudy
    model::Task task(const TaskId& id);

    // Hosts and guests.
    std::vector<ports::VmSummary> machines();
    bool is_copy(const VmId& vm) const;  // a rehearsal's, no VM of its own
    void stop_vm(const VmId& vm);        // its plug is pulled
    VmId create_vm(const std::string& name, const std::vector<ByteSize>& disks);  // running
    void plug(const VmId& vm, const std::string& target, ByteSize size);
    void unplug(const VmId& vm, const std::string& target);
    // Sectors of a running VM's disk; false when the guest could not (no VM, no room).
    bool write(const VmId& vm, const std::string& target, std::uint64_t sector, std::uint64_t count,
               std::uint64_t stamp);
    bool trim(const VmId& vm, const std::string& target, std::uint64_t sector, std::uint64_t count);
    bool grow(const VmId& vm, const std::string& target, ByteSize size);

    Result<> before(std::string_view call) override;
    Result<> after(std::string_view call) override;

private:
    class Frame;
    struct Doom {
        std::string call;  // empty: any
        bool after = false;
        unsigned left = 0;
    };

    memory::WorldHooks hooks();
    bool doomed(std::string_view call, bool after);
    [[noreturn]] void die(const std::string& where);
    void settle_death();  // once nothing of the dead daemon is on the stack
    void check_alive() const;
    Result<> check_may_start(const VmId& vm);
    void check_is_kept(const VmId& vm, const Images& held);

    World& world_;
    HostClock clock_;
    model::Cluster identity_;
    Locations locations_;
    memory::MemoryPool pool_;
    std::shared_ptr<FatedPool> fated_pool_;
    StageHypervisor hypervisor_;
    std::unique_ptr<ports::Catalog> catalog_;
    std::unique_ptr<Daemon> daemon_;
    std::optional<Doom> doom_;
    bool dead_ = false;
    bool outside_ = false;  // the present call of the hypervisor is nobody's of the daemon
    int frames_ = 0;
    unsigned disks_made_ = 0;
};

// While it lives, calls of this cluster's daemon are on the stack.
class Cluster::Frame {
public:
    explicit Frame(Cluster& cluster, int& also) : cluster_(cluster), also_(also) {
        ++cluster_.frames_;
        ++also_;
    }
    ~Frame() {
        --cluster_.frames_;
        --also_;
    }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

private:
    Cluster& cluster_;
    int& also_;
};

int& calls_being_served(World& world);

template <class Call>
auto Cluster::serve(Call call) -> decltype(call(std::declval<Daemon&>())) {
    if (!alive()) return fail(ErrorKind::unavailable, name() + " does not answer");
    try {
        const Frame frame(*this, calls_being_served(world_));
        return call(*daemon_);
    } catch (const Killed&) {
        settle_death();
    }
    return fail(ErrorKind::unavailable, name() + " died over it");
}

}  // namespace understudy::sim
