#pragma once

#include "chance.hpp"
#include "cluster.hpp"
#include "trace.hpp"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace understudy::sim {

class StageChannel;

// How often something goes wrong: once in so many times, 0 never.
struct Weather {
    unsigned dies = 0;          // a daemon, before or after one of its calls
    unsigned call_fails = 0;    // a call of a daemon, before it was done or after
    unsigned message_lost = 0;  // a call of a peer: request or reply
    unsigned message_repeated = 0;
    unsigned message_late = 0;  // one about an owner comes (again) long after it was sent
    unsigned frame_lost = 0;    // with its channel
    unsigned frame_damaged = 0;
    unsigned frame_repeated = 0;
    unsigned forgets = 0;           // a libvirt that ended right after a switch, of having made it
    bool forgets_for_good = false;  // also when the VM is off
    unsigned meanwhile = 0;         // something else happens between two calls of a daemon
};

// Clusters, what is between them, time and chance: one run in one thread. Same seed, same run.
class World {
public:
    using Heads = memory::MemoryPool::Heads;

    // One cluster for each of `heads`, all of them peers.
    explicit World(std::uint64_t seed, Trace::Loud loud = Trace::Loud::silent,
                   const std::vector<Heads>& heads = {Heads::move_on, Heads::move_on});
    ~World();

    Cluster& a() { return *clusters_[0]; }
    Cluster& b() { return *clusters_[1]; }
    std::vector<std::unique_ptr<Cluster>>& clusters() { return clusters_; }
    Cluster& other(const Cluster& cluster) { return &cluster == &a() ? b() : a(); }
    Cluster& any_other(const Cluster& cluster);
    Cluster* find(const ClusterId& id);
    void exchange_news();  // each hears of what the others did while it was away

    Chance& chance() { return chance_; }
    StageClock& clock() { return clock_; }
    Trace& trace() { return trace_; }
    Recorded& recorded() { return recorded_; }
    Weather weather;
    bool connected = true;  // the clusters, but for the pairs in `cut`
    std::set<std::pair<ClusterId, ClusterId>> cut;
    bool connects(const Cluster& one, const Cluster& another) const;
    // VMs that Understudy was taken out of, or is about to be: what peers have of them is no
    // replica any more, and both clusters may go their own way.
    std::set<VmId> released;
    // VMs that have lost a disk: where they depart from, that one's head stays (known gap).
    std::set<VmId> unplugged;
    // VMs that an operator promoted, perhaps while their owner still ran them.
    std::set<VmId> promoted;
    // What may happen between two calls of a daemon while nobody serves a peer.
    std::function<void()> meanwhile;

    void say(const Cluster& who, const std::string& what);
    void say(const std::string& what);
    // A promise that was broken: the run goes on, and has failed.
    void broken(const std::string& what);
    const std::vector<std::string>& broken_promises() const { return broken_; }

    std::uint64_t next_stamp() { return ++stamps_; }

    // For Cluster and StageLink.
    void let_time_pass(const Cluster& who, std::string_view call);
    void channel_opened(StageChannel& channel) { channels_.push_back(&channel); }
    void channel_closed(StageChannel& channel) { std::erase(channels_, &channel); }
    void cut_channels_to(const Cluster& cluster);
    void comes_later(Cluster& to, std::function<void(Daemon&)> message);
    void deliver_late();  // one of them, if there is any
    bool has_late() const { return !late_.empty(); }
    int serving = 0;  // peers' calls on the stack

private:
    void pair();

    Chance chance_;
    StageClock clock_;
    Trace trace_;
    Recorded recorded_;
    std::vector<std::string> broken_;
    std::vector<StageChannel*> channels_;
    std::vector<std::pair<Cluster*, std::function<void(Daemon&)>>> late_;
    std::uint64_t stamps_ = 0;
    bool in_meanwhile_ = false;
    std::vector<std::unique_ptr<Cluster>> clusters_;
};

}  // namespace understudy::sim
