#include "daemon/house.hpp"

#include "base/version.hpp"
#include "daemon/autostart.hpp"
#include "daemon/drill_files.hpp"
#include "daemon/guard_files.hpp"
#include "daemon/halts.hpp"
#include "hypervisor/libvirt/open_libvirt.hpp"
#include "protocol/features.hpp"
#include "storage/directories/posix_directories.hpp"
#include "storage/qcow2/disk_format.hpp"
#include "storage/rbd_stream/format.hpp"
#include "tasks/kinds.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/owners/roles.hpp"
#include "tasks/proof/verifying.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <set>

// Puts one cluster's objects together and runs them. open() in order: libvirt, pools, the guard
// files as the catalog says, recover() (this node's tasks that a crash left running are queued
// again), the peers' listener; then threads: the workers, one for contact with peers, one that
// measures the pools. The destructor tells waiting calls and running tasks to end, makes durable
// what peers are sending, stops the listener and joins the threads. What a crash leaves is in the
// catalog.

namespace understudy::daemon {
namespace {

// If a transfer came no further for so long, its source will not come back to it.
constexpr Duration kForgottenAfter = std::chrono::hours(7 * 24);
constexpr Duration kIdle{500};  // to see tasks that become due; a new one rings the bell

tasks::SiteSettings settings_of(const Config& config) {
    tasks::SiteSettings settings;
    settings.node = config.node;
    settings.default_pool = config.pools.front().name;
    settings.channels = config.channels;
    settings.checkpoint_every = config.checkpoint_every;
    settings.checkpoint_bytes = config.checkpoint_bytes;
    settings.link_patience = config.link_patience;
    settings.takes_handovers = config.accept_handovers;
    settings.drill = config.drill;
    settings.recovery = config.recovery;
    const char* halts = std::getenv("UNDERSTUDY_HALT_DIR");
    settings.at_point = halts_in(halts == nullptr ? "" : halts);
    return settings;
}

}  // namespace

House::House(const Config& config, const model::Cluster& cluster,
             std::shared_ptr<ports::Catalog> catalog, std::unique_ptr<ports::Hypervisor> hypervisor,
             const net::Identity& identity, SystemClock& clock)
    : config_(config),
      catalog_(std::move(catalog)),
      hypervisor_(std::move(hypervisor)),
      clock_(clock),
      links_(*catalog_, identity, config.link_patience),
      site_{cluster, settings_of(config), *catalog_, *hypervisor_, links_, clock_, random_, {}},
      receiving_(site_),
      runner_(site_, tasks::all_kinds()) {}

Result<std::unique_ptr<House>> House::open(const Config& config, const model::Cluster& cluster,
                                           std::shared_ptr<ports::Catalog> catalog,
                                           const net::Identity& identity, SystemClock& clock) {
    auto hypervisor = libvirt::open_libvirt(config.hypervisor, config.state_dir + "/nvram");
    if (!hypervisor)
        return fail(std::move(hypervisor.error()).during("connect to " + config.hypervisor));
    std::unique_ptr<House> house(
        new House(config, cluster, std::move(catalog), std::move(*hypervisor), identity, clock));
    auto pools = UNDERSTUDY_VALUE(open_pools(config.pools));
    house->site_.pools = std::move(pools);
    auto guard = UNDERSTUDY_VALUE(open_guard_files(config.state_dir + "/must-not-start"));
    house->site_.guard = std::move(guard);
    UNDERSTUDY_TRY(tasks::refresh_guard(house->site_));
    house->site_.directories = directories::posix_directories();
    house->site_.evidence = open_drill_files(config.state_dir + "/drills");
    house->site_.formats.emplace("qcow2", qcow2::qcow2_format());
    house->site_.formats.emplace("rbd", rbd_stream::rbd_format());
    house->operators_ = std::make_unique<api::Operators>(api::OperatorsContext{
        house->site_, house->receiving_, identity, config.advertise, config.listen_api,
        config.hypervisor, [h = house.get()] { return h->capabilities(); }});
    UNDERSTUDY_TRY(house->runner_.recover());
    UNDERSTUDY_TRY(house->listen(identity));
    for (std::size_t i = 0; i < config.workers; ++i)
        house->threads_.emplace_back([h = house.get(), i] { h->work(i); });
    house->threads_.emplace_back([h = house.get()] { h->keep_contact(); });
    house->threads_.emplace_back([h = house.get()] { h->watch_room(); });
    return house;
}

Result<> House::listen(const net::Identity& identity) {
    auto endpoint = net::parse_endpoint(config_.listen_peers, 7373);
    if (!endpoint) return fail(std::move(endpoint.error()).during("listen_peers"));
    auto listener = net::listen_tcp(endpoint->host, endpoint->port);
    if (!listener) return fail(std::move(listener.error()).during("listen for peers"));
    peers_ =
        std::make_unique<api::PeerServer>(site_, receiving_, [this] { return capabilities(); });
    UNDERSTUDY_TRY(peers_->start(std::move(*listener), identity));
    spdlog::info("peers' port: {}", config_.listen_peers);
    return {};
}

void House::quiet() {
    site_.bells->changed.close();
}

House::~House() {
    quiet();
    runner_.stop();
    site_.bells->queued.close();
    clock_.stop();
    // What peers are sending is made durable before their connections are cut.
    receiving_.stop();
    if (peers_) peers_->stop();
    for (auto& thread : threads_) thread.join();
}

// Worker 0 takes no sends and no tasks that only read, so that a promote does not wait for them
// however many there are. If there is only one worker, it takes all.
void House::work(std::size_t worker) {
    ports::ClaimExcept except;
    if (worker == 0 && config_.workers > 1)
        except = {.kinds = {std::string(tasks::kSend)}, .reading = true};
    auto& queued = site_.bells->queued;
    while (!runner_.stopping()) {
        const auto rung = queued.rung();
        auto ran = runner_.run_one(except);
        if (!ran) spdlog::error("tasks: {}", ran.error().text());
        if (!ran)
            clock_.sleep(kIdle);
        else if (!*ran)
            queued.wait(rung, kIdle);
    }
}

void House::watch_room() {
    while (!runner_.stopping()) {
        room_.look(site_.pools);
        clock_.sleep(config_.contact_every);
    }
}

void House::keep_contact() {
    Autostart autostart(site_, config_.state_dir + "/autostart-done");
    while (!runner_.stopping()) {
        std::set<ClusterId> answered;
        const auto ours = capabilities();
        auto peers = catalog_->peers();
        if (!peers) spdlog::error("peers: {}", peers.error().text());
        for (const auto& peer : peers ? *peers : std::vector<model::Peer>{}) {
            auto contacted = tasks::contact_peer(site_, peer.id, ours);
            if (contacted)
                answered.insert(peer.id);
            else
                spdlog::warn("peer '{}': {}", peer.name, contacted.error().text());
        }
        autostart.round(answered);
        auto guarded = tasks::refresh_guard(site_);
        if (!guarded) spdlog::warn("guard: {}", guarded.error().text());
        auto given_up = receiving_.give_up_older_than(clock_.now() - kForgottenAfter);
        if (!given_up) spdlog::warn("old transfers: {}", given_up.error().text());
        if (config_.verify_every > Duration(0)) {
            auto verified = tasks::queue_due_verification(site_, config_.verify_every);
            if (!verified) spdlog::warn("verify replicas: {}", verified.error().text());
        }
        clock_.sleep(config_.contact_every);
    }
}

model::Capabilities House::capabilities() {
    auto known = hypervisor_->capabilities();
    auto answer = known ? std::move(*known) : model::Capabilities{};
    answer.version = base::version();
    answer.features = protocol::our_features();
    answer.pools = room_.known(site_.pools);
    return answer;
}

}  // namespace understudy::daemon
