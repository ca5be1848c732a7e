#include "world.hpp"

#include "link.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace understudy::sim {

int& calls_being_served(World& world) {
    return world.serving;
}

World::World(std::uint64_t seed, Trace::Loud loud, Heads heads_of_a, Heads heads_of_b)
    : chance_(seed), trace_(loud) {
    clusters_.push_back(std::make_unique<Cluster>(*this, "a", heads_of_a));
    clusters_.push_back(std::make_unique<Cluster>(*this, "b", heads_of_b));
    pair();
    for (auto& cluster : clusters_) cluster->start();
}

World::~World() = default;

void World::pair() {
    for (auto& cluster : clusters_)
        for (auto& other : clusters_) {
            if (cluster == other) continue;
            model::Peer peer;
            peer.id = other->id();
            peer.name = other->name();
            peer.fingerprint = other->name();
            peer.capabilities = other->capabilities();
            auto saved = cluster->catalog().save_peer(peer);
            if (!saved) throw std::runtime_error(saved.error().text());
        }
}

Cluster* World::find(const ClusterId& id) {
    for (auto& cluster : clusters_)
        if (cluster->id() == id) return cluster.get();
    return nullptr;
}

void World::say(const Cluster& who, const std::string& what) {
    trace_.event(clock_.monotonic(), who.name(), what);
}

void World::say(const std::string& what) {
    trace_.event(clock_.monotonic(), "", what);
}

void World::broken(const std::string& what) {
    broken_.push_back(what);
    say("BROKEN " + what);
}

void World::let_time_pass(const Cluster& who, std::string_view call) {
    clock_.sleep(Duration(1));
    trace_.call(clock_.monotonic(), who.name(), call);
    if (!meanwhile || serving > 0 || in_meanwhile_ || !chance_.one_in(weather.meanwhile)) return;
    in_meanwhile_ = true;
    struct Over {
        bool& flag;
        ~Over() { flag = false; }
    } const over{in_meanwhile_};
    meanwhile();
}

void World::cut_channels_to(const Cluster& cluster) {
    for (auto* channel : channels_)
        if (&channel->to() == &cluster) channel->hang_up();
}

}  // namespace understudy::sim
