#include "world.hpp"

#include "base/must_test.hpp"
#include "link.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {

int& calls_being_served(World& world) {
    return world.serving;
}

World::World(std::uint64_t seed, Trace::Loud loud, const std::vector<Heads>& heads)
    : chance_(seed), trace_(loud) {
    char name = 'a';
    for (const auto of_one : heads)
        clusters_.push_back(std::make_unique<Cluster>(*this, std::string(1, name++), of_one));
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
            must(cluster->catalog().save_peer(peer));
        }
}

Cluster* World::find(const ClusterId& id) {
    for (auto& cluster : clusters_)
        if (cluster->id() == id) return cluster.get();
    return nullptr;
}

Cluster& World::any_other(const Cluster& cluster) {
    if (clusters_.size() == 2) return other(cluster);
    while (true)
        if (auto& one = chance_.pick(clusters_); one.get() != &cluster) return *one;
}

bool World::connects(const Cluster& one, const Cluster& another) const {
    return connected && !cut.contains(std::minmax(one.id(), another.id()));
}

void World::exchange_news() {
    for (int round = 0; round < 2; ++round)
        for (auto& cluster : clusters_)
            for (auto& another : clusters_) {
                if (cluster == another) continue;
                if (auto told = cluster->contact(*another); !told)
                    broken("promise 5: the peers do not talk: " + told.error().text());
            }
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

void World::comes_later(Cluster& to, std::function<void(Daemon&)> message) {
    late_.emplace_back(&to, std::move(message));
}

void World::deliver_late() {
    if (late_.empty()) return;
    const auto at = late_.begin() + static_cast<std::ptrdiff_t>(chance_.below(late_.size()));
    const auto [to, message] = std::move(*at);
    late_.erase(at);
    say(*to, "a late message arrives");
    auto served = to->serve([&](Daemon& there) -> Result<> {
        message(there);
        return {};
    });
    if (!served) say(*to, served.error().text());
}

void World::cut_channels_to(const Cluster& cluster) {
    for (auto* channel : channels_)
        if (&channel->to() == &cluster) channel->hang_up();
}

}  // namespace understudy::sim
