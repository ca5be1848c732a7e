#include "actions.hpp"

#include "base/must_test.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {
void Actions::set_weather() {
    auto& chance = world_.chance();
    auto& weather = world_.weather;
    const auto rough = [&](std::uint64_t low, std::uint64_t high) {
        return chance.one_in(3) ? 0 : static_cast<unsigned>(chance.between(low, high));
    };
    const bool bad = days_ == Days::bad;
    weather.dies = rough(100, bad ? 800 : 1500);
    weather.call_fails = rough(100, bad ? 1000 : 2000);
    weather.message_lost = rough(bad ? 3 : 4, bad ? 12 : 40);
    weather.message_repeated = rough(4, 30);
    weather.message_late = rough(2, 10);
    weather.frame_lost = rough(20, 200);
    weather.frame_damaged = rough(30, 300);
    weather.frame_repeated = rough(20, 200);
    weather.meanwhile = rough(30, 300);
    weather.forgets = 2;
    for (auto& cluster : world_.clusters()) set_clock(*cluster);
}

// On bad days a host's clock is wrong by up to an hour.
void Actions::set_clock(Cluster& cluster) {
    constexpr std::uint64_t kHour = 3'600'000;
    if (days_ != Days::bad || !world_.chance().one_in(2)) return;
    const auto ahead = static_cast<std::int64_t>(world_.chance().between(0, 2 * kHour));
    cluster.clock().set_ahead(Duration(ahead - static_cast<std::int64_t>(kHour)));
}

void Actions::set_stage() {
    auto& chance = world_.chance();
    const auto vms = chance.between(1, 2);
    for (std::uint64_t i = 1; i <= vms; ++i) {
        std::vector<ByteSize> disks;
        for (auto n = chance.between(1, 2); n > 0; --n)
            disks.emplace_back(Image::kSector * chance.between(64, 1200));
        auto& home = chance.one_in(5) ? world_.b() : world_.a();
        const auto vm = home.create_vm(fmt::format("vm{}", i), disks);
        world_.say(home, fmt::format("vm{} runs with {} disks", i, disks.size()));
        for (const auto& disk : home.hypervisor().disks(vm)) {
            const auto sectors = disk.size.count() / Image::kSector;
            for (int n = 0; n < 4; ++n) {
                const auto at = chance.below(sectors);
                home.write(vm, disk.target, at, std::min(sectors - at, chance.between(1, 60)),
                           world_.next_stamp());
            }
        }
    }
}

namespace {

struct Choice {
    unsigned weight;
    void (Actions::*act)();
};

}  // namespace

void Actions::some_action() {
    static const std::vector<Choice> kGoodDays{{30, &Actions::run_tasks},
                                               {14, &Actions::guest_writes},
                                               {5, &Actions::guest_trims},
                                               {2, &Actions::disk_grows},
                                               {2, &Actions::disk_comes_or_goes},
                                               {9, &Actions::take_snapshot},
                                               {4, &Actions::remove_snapshots},
                                               {2, &Actions::roll_back},
                                               {10, &Actions::send},
                                               {3, &Actions::cancel_or_retry},
                                               {6, &Actions::drill},
                                               {2, &Actions::promote},
                                               {3, &Actions::move},
                                               {2, &Actions::resolve},
                                               {1, &Actions::remove_replica},
                                               {1, &Actions::release},
                                               {2, &Actions::start_or_stop},
                                               {2, &Actions::exchange},
                                               {2, &Actions::line_changes},
                                               {2, &Actions::room_changes},
                                               {2, &Actions::daemon_ends},
                                               {6, &Actions::daemon_starts},
                                               {4, &Actions::time_passes}};
    // Of moves, promotes and what comes of them.
    static const std::vector<Choice> kBadDays{
        {44, &Actions::run_tasks},       {10, &Actions::guest_writes},
        {1, &Actions::disk_grows},       {2, &Actions::take_snapshot},
        {1, &Actions::remove_snapshots}, {4, &Actions::send},
        {3, &Actions::cancel_or_retry},  {2, &Actions::drill},
        {4, &Actions::promote},          {6, &Actions::move},
        {4, &Actions::resolve},          {1, &Actions::remove_replica},
        {3, &Actions::start_or_stop},    {3, &Actions::start_elsewhere},
        {5, &Actions::exchange},         {4, &Actions::late_message},
        {5, &Actions::line_changes},     {1, &Actions::room_changes},
        {2, &Actions::daemon_ends},      {8, &Actions::daemon_starts},
        {5, &Actions::time_passes}};
    const auto& choices = days_ == Days::bad ? kBadDays : kGoodDays;
    unsigned all = 0;
    for (const auto& choice : choices) all += choice.weight;
    auto at = world_.chance().below(all);
    for (const auto& choice : choices) {
        if (at < choice.weight) return (this->*choice.act)();
        at -= choice.weight;
    }
}

void Actions::small_action() {
    using Act = void (Actions::*)();
    static const std::vector<Act> kActs{&Actions::guest_writes,    &Actions::guest_writes,
                                        &Actions::guest_trims,     &Actions::run_tasks,
                                        &Actions::cancel_or_retry, &Actions::exchange,
                                        &Actions::line_changes,    &Actions::room_changes,
                                        &Actions::daemon_ends,     &Actions::start_or_stop};
    (this->*world_.chance().pick(kActs))();
}

std::vector<Actions::Seen> Actions::guests() {
    std::vector<Seen> all;
    for (auto& cluster : world_.clusters())
        for (const auto& vm : cluster->machines()) all.push_back({cluster.get(), vm.id, vm.name});
    return all;
}

std::vector<Actions::Seen> Actions::machines() {
    auto all = guests();
    std::erase_if(all, [](const Seen& seen) { return seen.cluster->is_copy(seen.vm); });
    return all;
}

std::vector<Actions::Seen> Actions::known(model::Phase phase) {
    std::vector<Seen> all;
    for (auto& cluster : world_.clusters())
        for (const auto& vm : must(cluster->catalog().vms()))
            if (vm.ownership.phase == phase) all.push_back({cluster.get(), vm.id, vm.name});
    return all;
}

Cluster& Actions::any_cluster() {
    return *world_.chance().pick(world_.clusters());
}

void Actions::run_tasks() {
    any_cluster().run_one();
}

std::optional<Actions::Place> Actions::random_place() {
    auto& chance = world_.chance();
    const auto all = guests();
    if (all.empty()) return std::nullopt;
    const auto& on = chance.pick(all);
    const auto disks = on.cluster->hypervisor().disks(on.vm);
    if (disks.empty()) return std::nullopt;
    const auto& disk = chance.pick(disks);
    const auto sectors =
        on.cluster->hypervisor().images(on.vm)[disk.target].size().count() / Image::kSector;
    const auto at = chance.below(sectors);
    return Place{.guest = on, .target = disk.target, .at = at, .left = sectors - at};
}

void Actions::guest_writes() {
    auto& chance = world_.chance();
    const auto place = random_place();
    if (!place) return;
    const auto& [on, target, at, left] = *place;
    const auto count =
        std::min(left, chance.one_in(3) ? chance.between(8, 80) : chance.between(1, 8));
    if (on.cluster->write(on.vm, target, at, count, world_.next_stamp()))
        world_.say(*on.cluster,
                   fmt::format("{} writes {} sectors at {} of {}", on.name, count, at, target));
}

void Actions::guest_trims() {
    const auto place = random_place();
    if (!place) return;
    const auto& [on, target, at, left] = *place;
    const auto count = std::min(left, world_.chance().between(1, 200));
    if (on.cluster->trim(on.vm, target, at, count))
        world_.say(*on.cluster,
                   fmt::format("{} trims {} sectors at {} of {}", on.name, count, at, target));
}

void Actions::disk_grows() {
    auto& chance = world_.chance();
    const auto all = machines();
    if (all.empty()) return;
    const auto& on = chance.pick(all);
    const auto disks = on.cluster->hypervisor().disks(on.vm);
    if (disks.empty() || on.cluster->busy()) return;
    const auto& disk = chance.pick(disks);
    const auto size = on.cluster->hypervisor().images(on.vm)[disk.target].size() +
                      ByteSize(Image::kSector * chance.between(1, 64));
    if (on.cluster->grow(on.vm, disk.target, size))
        world_.say(*on.cluster,
                   fmt::format("{} of {} grows to {}", disk.target, on.name, size.count()));
}

void Actions::disk_comes_or_goes() {
    auto& chance = world_.chance();
    const auto all = machines();
    if (all.empty()) return;
    const auto& on = chance.pick(all);
    if (on.cluster->busy()) return;
    for (const auto& task : must(on.cluster->catalog().tasks({on.vm, true, 100})))
        if (task.kind == "move" || task.kind == "resolve") return;  // about to depart, perhaps
    const auto disks = on.cluster->hypervisor().disks(on.vm);
    if (disks.size() > 1 && chance.one_in(2)) {
        world_.unplugged.insert(on.vm);
        const auto target = chance.pick(disks).target;
        world_.say(*on.cluster, fmt::format("{} of {} is unplugged", target, on.name));
        on.cluster->unplug(on.vm, target);
        return;
    }
    if (disks.size() > 3) return;
    for (char letter = 'a';; ++letter) {
        const auto target = fmt::format("vd{}", letter);
        if (std::ranges::any_of(disks, [&](const auto& d) { return d.target == target; })) continue;
        world_.say(*on.cluster, fmt::format("{} gets {}", on.name, target));
        on.cluster->plug(on.vm, target, ByteSize(Image::kSector * chance.between(64, 400)));
        return;
    }
}

void Actions::take_snapshot() {
    const auto all = machines();
    if (all.empty()) return;
    const auto& on = world_.chance().pick(all);
    const auto known = must(on.cluster->catalog().find_vm(on.vm));
    if (known && known->ownership.phase != model::Phase::owned) return;
    queue_snapshot(on);
}

std::optional<TaskId> Actions::queue_snapshot(const Seen& on) {
    const auto name = fmt::format("s{}", ++snapshots_);
    return on.cluster->queue(
        "snapshot_create", on.vm, fmt::format("snapshot {}@{}", on.name, name),
        {{"snapshot", world_.chance().id<SnapshotId>().text()}, {"name", name}, {"freeze", true}});
}

void Actions::remove_snapshots() {
    auto& cluster = any_cluster();
    const auto vms = must(cluster.catalog().vms());
    if (vms.empty()) return;
    const auto& vm = world_.chance().pick(vms);
    auto ids = nlohmann::json::array();
    std::string names;
    for (const auto& snapshot : must(cluster.catalog().snapshots(vm.id)))
        if (world_.chance().one_in(2)) {
            ids.push_back(snapshot.id.text());
            names += " " + snapshot.name;
        }
    if (!ids.empty())
        cluster.queue("snapshot_remove", vm.id, fmt::format("remove {}@{}", vm.name, names),
                      {{"snapshots", ids}});
}

void Actions::roll_back() {
    const auto owned = known(model::Phase::owned);
    if (owned.empty()) return;
    const auto& on = world_.chance().pick(owned);
    const auto snapshots = must(on.cluster->catalog().snapshots(on.vm));
    if (snapshots.empty() || !on.cluster->alive() || on.cluster->busy()) return;
    if (on.cluster->hypervisor().disks(on.vm).empty()) return;  // promoted, not yet defined
    const auto& snapshot = world_.chance().pick(snapshots);
    world_.say(*on.cluster, on.name + " is stopped");
    on.cluster->stop_vm(on.vm);
    on.cluster->queue("snapshot_rollback", on.vm,
                      fmt::format("rollback {} to {}", on.name, snapshot.name),
                      {{"snapshot", snapshot.id.text()}});
}

std::optional<TaskId> Actions::queue_send(Cluster& from, Cluster& to, const model::Vm& vm,
                                          const model::Snapshot& snapshot, bool full,
                                          const SnapshotId& base) {
    nlohmann::json arguments{
        {"snapshot", snapshot.id.text()}, {"peer", to.id().text()}, {"full", full}};
    // Without threads a rate limit throttles nothing; it chooses the codec.
    if (world_.chance().one_in(2))
        arguments["rate_bytes"] = world_.chance().one_in(2) ? 10'000'000 : 500'000'000;
    if (!base.is_nil()) arguments["base"] = base.text();
    return from.queue("send", vm.id,
                      fmt::format("send {}@{}{}{}", vm.name, snapshot.name, full ? " --full" : "",
                                  base.is_nil() ? "" : " --base"),
                      std::move(arguments));
}

void Actions::send() {
    const auto owned = known(model::Phase::owned);
    if (owned.empty()) return;
    auto& chance = world_.chance();
    const auto& on = chance.pick(owned);
    const auto snapshots = must(on.cluster->catalog().snapshots(on.vm));
    if (snapshots.empty()) return;
    const auto& snapshot = chance.one_in(3) ? chance.pick(snapshots) : snapshots.back();
    const bool full = chance.one_in(8);
    SnapshotId base;
    if (!full && chance.one_in(8)) base = chance.pick(snapshots).id;
    queue_send(*on.cluster, world_.any_other(*on.cluster), must(on.cluster->catalog().vm(on.vm)),
               snapshot, full, base);
}

void Actions::cancel_or_retry() {
    auto& cluster = any_cluster();
    const auto tasks = must(cluster.catalog().tasks({}));
    if (tasks.empty() || !cluster.alive()) return;
    const auto& task = world_.chance().pick(tasks);
    const auto now = cluster.clock().now();
    if (!task.ended_already()) {
        if (!cluster.catalog().request_cancel(task.id, now)) return;
        world_.say(cluster, "cancel: " + task.title);
    } else if (task.state != model::TaskState::succeeded) {
        if (!cluster.catalog().retry_task(task.id, now)) return;
        world_.say(cluster, "retry: " + task.title);
    }
}

void Actions::remove_replica() {
    const auto replicas = known(model::Phase::replica);
    if (replicas.empty()) return;
    const auto& on = world_.chance().pick(replicas);
    on.cluster->queue("replica_remove", on.vm, "remove replica " + on.name, {});
}

void Actions::release() {
    const auto owned = known(model::Phase::owned);
    if (owned.empty() || !world_.chance().one_in(3)) return;
    const auto& on = world_.chance().pick(owned);
    if (on.cluster->queue("release", on.vm, "release " + on.name, {}))
        world_.released.insert(on.vm);
}

void Actions::start_or_stop() {
    const auto all = guests();
    if (all.empty()) return;
    const auto& on = world_.chance().pick(all);
    if (on.cluster->hypervisor().runs(on.vm)) {
        world_.say(*on.cluster, on.name + " is stopped");
        on.cluster->stop_vm(on.vm);
        return;
    }
    if (on.cluster->is_copy(on.vm)) return;
    for (const auto& task : must(on.cluster->catalog().tasks({on.vm, true, 10})))
        if (task.state == model::TaskState::running && task.kind != "send") return;
    auto started = on.cluster->start_vm(on.vm);
    world_.say(*on.cluster,
               fmt::format("start {}: {}", on.name, started ? "done" : started.error().text()));
}

void Actions::exchange() {
    auto& cluster = any_cluster();
    auto done = cluster.contact(world_.any_other(cluster));
    world_.say(cluster, done ? "asks its peer" : "asks its peer: " + done.error().text());
}

void Actions::line_changes() {
    if (world_.clusters().size() > 2 && world_.chance().one_in(2)) {
        const auto& one = any_cluster();
        const auto& another = world_.any_other(one);
        const auto pair = std::minmax(one.id(), another.id());
        if (world_.cut.erase(pair) == 0) world_.cut.insert(pair);
        world_.say(fmt::format("the line between {} and {} {}", one.name(), another.name(),
                               world_.cut.contains(pair) ? "is cut" : "stands"));
        return;
    }
    world_.connected = !world_.connected;
    world_.say(world_.connected ? "the line stands" : "the line is cut");
}

void Actions::room_changes() {
    auto& cluster = any_cluster();
    if (world_.chance().one_in(2)) {
        const auto capacity = must(cluster.pool().capacity());
        const auto used = capacity.total - capacity.free;
        const auto spare = world_.chance().between(0, 40) * 4096;
        cluster.pool().set_capacity(used + ByteSize(spare));
        world_.say(cluster, fmt::format("its pool has {} bytes left", spare));
    } else {
        cluster.pool().set_capacity(base::GiB(1));
        world_.say(cluster, "its pool has room");
    }
}

void Actions::daemon_ends() {
    auto& cluster = any_cluster();
    if (!cluster.alive()) return;
    if (world_.chance().one_in(4)) return cluster.lose_power();
    world_.say(cluster, "the daemon is killed");
    cluster.kill();
}

void Actions::daemon_starts() {
    for (auto& cluster : world_.clusters()) {
        if (!cluster->alive() && world_.chance().one_in(8)) set_clock(*cluster);
        cluster->start();
    }
}

void Actions::time_passes() {
    for (auto& cluster : world_.clusters())
        if (cluster->busy()) return;
    world_.clock().sleep(Duration(world_.chance().between(1, 300'000)));
}

}  // namespace understudy::sim
