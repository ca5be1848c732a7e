#pragma once

#include "world.hpp"

namespace understudy::sim {

// What operators, guests and misfortune do, each by chance. Whatever an operator's tool would
// refuse at once is not done.
class Actions {
public:
    enum class Days { good, bad };

    Actions(World& world, Days days) : world_(world), days_(days) {}

    void set_stage();  // VMs that run
    void replicate();  // each VM has a replica on every other cluster
    void set_weather();
    void some_action();      // one of all
    void small_action();     // one that may happen between two calls of a daemon
    void send_everything();  // a new snapshot of each VM, from its owner to the others
    void resolve_all();      // each VM of which two lines came to be has one owner and a replica

private:
    struct Seen {
        Cluster* cluster;
        VmId vm;
        std::string name;
    };
    struct SeenAt {
        Seen on;
        model::Snapshot snapshot;
    };
    struct Place {
        Seen guest;
        std::string target;
        std::uint64_t at;    // a sector
        std::uint64_t left;  // how many there are from it on
    };
    std::vector<Seen> guests();                   // that some hypervisor knows
    std::vector<Seen> machines();                 // the same without copies for a rehearsal
    std::vector<Seen> known(model::Phase phase);  // that some catalog has in that phase
    std::optional<Place> random_place();          // on a disk of a guest
    // One of its snapshots: an older one once in so many times, else the newest.
    std::optional<SeenAt> some_replica(unsigned older);
    Cluster& any_cluster();

    void run_tasks();
    void guest_writes();
    void guest_trims();
    void disk_grows();
    void disk_comes_or_goes();
    void take_snapshot();
    void remove_snapshots();
    void roll_back();
    void send();
    void cancel_or_retry();
    void drill();
    void promote();
    void move();
    void resolve();
    std::optional<TaskId> queue_resolve(const Seen& on, bool here);
    void remove_replica();
    void release();
    void start_or_stop();
    void start_elsewhere();
    void exchange();
    void late_message();
    void line_changes();
    void room_changes();
    void daemon_ends();
    void daemon_starts();
    void set_clock(Cluster& cluster);
    void time_passes();

    std::optional<TaskId> queue_snapshot(const Seen& on);
    void send_newest(Cluster& from, Cluster& to, const model::Vm& vm,
                     const model::Snapshot& newest);
    std::optional<TaskId> queue_send(Cluster& from, Cluster& to, const model::Vm& vm,
                                     const model::Snapshot& snapshot, bool full,
                                     const SnapshotId& base);
    bool succeeds(Cluster& cluster, const std::optional<TaskId>& id);  // else a promise is broken

    World& world_;
    Days days_;
    unsigned snapshots_ = 0;
};

}  // namespace understudy::sim
