#include "cluster.hpp"

#include "base/must_test.hpp"
#include "link.hpp"
#include "protocol/features.hpp"
#include "tasks/kinds.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/snapshots/snapshot_moment.hpp"
#include "world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace understudy::sim {
namespace {

tasks::SiteSettings settings() {
    tasks::SiteSettings settings;
    settings.default_pool = "vms";
    settings.threads = false;
    settings.handover_patience = Duration(500);
    settings.drill.limit = Duration(3000);
    settings.drill.min_uptime = Duration(600);
    // Small, so that a resume begins in the middle of a disk.
    settings.checkpoint_every = Duration(200);
    settings.checkpoint_bytes = base::KiB(64);
    return settings;
}

std::unique_ptr<ports::Catalog> open_catalog() {
    catalog::CatalogSettings where;
    where.path = ":memory:";
    return must(catalog::open_catalog(where));
}

}  // namespace

Daemon::Daemon(World& world, Cluster& cluster)
    : catalog(cluster.catalog(), cluster),
      links(make_links(world, cluster)),
      site{cluster.identity(),
           settings(),
           catalog,
           cluster.hypervisor(),
           *links,
           cluster.clock(),
           world.chance(),
           {{"vms", cluster.fated_pool()}}},
      receiving(site),
      runner(site, tasks::all_kinds()) {}

Cluster::Cluster(World& world, const std::string& name, memory::MemoryPool::Heads heads)
    : world_(world),
      clock_(world.clock()),
      identity_{world.chance().id<ClusterId>(), name},
      pool_(name, heads),
      fated_pool_(std::make_shared<FatedPool>(pool_, *this, locations_)),
      hypervisor_(hooks(), locations_, world.recorded()),
      catalog_(open_catalog()) {
    hypervisor_.set_capabilities(capabilities());
    must(catalog_->save_cluster(identity_));
    hypervisor_.on_start = [this](const VmId& vm) { return check_may_start(vm); };
    hypervisor_.on_undefine = [this](const VmId& vm, const Images& held) {
        check_is_kept(vm, held);
    };
}

// Promise 6: what a VM's disks hold is some snapshot's, before the VM goes from this cluster.
void Cluster::check_is_kept(const VmId& vm, const Images& held) {
    if (is_copy(vm)) return;  // to be thrown away
    for (const auto& snapshot : must(catalog_->snapshots(vm))) {
        const auto recorded = world_.recorded().find(snapshot.id);
        if (recorded == world_.recorded().end()) continue;
        // A disk may have been unplugged since.
        if (std::ranges::includes(recorded->second, held,
                                  [](const auto& a, const auto& b) { return a.first < b.first; }) &&
            std::ranges::all_of(held, [&](const auto& disk) {
                return recorded->second.at(disk.first) == disk.second;
            }))
            return;
    }
    world_.broken(fmt::format("promise 6: no snapshot on {} has what '{}' held when it went",
                              name(), vm.text()));
}

// Promise 3 as far as one cluster can keep it: a daemon starts only what its catalog says it owns.
Result<> Cluster::check_may_start(const VmId& vm) {
    // QEMU opens its disks: half of a rollback may be done, and the other half not yet.
    for (const auto& disk : hypervisor_.disks(vm))
        if (auto there = pool_.disk_size(disk.source.location); !there) return error_of(there);
    for (const auto& layer : hypervisor_.named_layers(vm))
        if (auto there = pool_.disk_size(layer); !there)
            return fail(ErrorKind::internal, "Cannot access backing file " + layer);
    auto known = catalog_->find_vm(vm);
    if (frames_ == 0 || !known || !*known) return {};
    const auto& ownership = (*known)->ownership;
    if (ownership.phase != model::Phase::owned || ownership.owner != id())
        world_.broken(fmt::format("promise 3: {} starts '{}', which it does not own", name(),
                                  (*known)->name));
    return {};
}

model::Capabilities Cluster::capabilities() const {
    model::Capabilities able;
    able.version = "simulated";
    able.features = protocol::our_features();
    return able;
}

memory::WorldHooks Cluster::hooks() {
    memory::WorldHooks hooks;
    // A guest that is never idle: writes on both sides of every moment.
    hooks.guest = [this](const VmId& vm, const std::vector<ports::DiskDescription>& disks,
                         memory::Moment) {
        for (const auto& disk : disks) {
            const auto sectors = disk.size.count() / Image::kSector;
            if (world_.chance().one_in(2))
                write(vm, disk.target, world_.chance().below(sectors), 1, world_.next_stamp());
        }
    };
    hooks.merge = [this](const ports::LiveMerge& merge) { return pool_.perform_merge(merge); };
    hooks.forgets = [this] { return world_.chance().one_in(world_.weather.forgets); };
    hooks.forgets_for_good = [this] { return world_.weather.forgets_for_good; };
    hooks.commit_back = [this](const std::string& base, const std::string& top) {
        return pool_.commit_back(base, top);
    };
    hooks.size = [this](const ports::DiskSource& source) {
        return pool_.disk_size(source.location);
    };
    hooks.fault = [this](const std::string& call) { return before("hypervisor." + call); };
    hooks.lost_reply = [this](const std::string& call) { return after("hypervisor." + call); };
    return hooks;
}

void Cluster::start() {
    if (daemon_) return;
    daemon_ = std::make_unique<Daemon>(world_, *this);
    world_.say(*this, "the daemon starts");
    auto recovered = serve([](Daemon& here) { return here.runner.recover(); });
    if (!recovered && daemon_) {
        world_.say(*this, "the daemon cannot start: " + recovered.error().text());
        kill();
    }
}

void Cluster::kill() {
    if (!daemon_) return;
    dead_ = true;
    settle_death();
}

void Cluster::lose_power() {
    world_.say(*this, "power is lost");
    pool_.crash();
    hypervisor_.power_loss();
    kill();
}

void Cluster::settle_death() {
    if (!dead_) return;
    world_.cut_channels_to(*this);
    if (frames_ > 0) return;
    daemon_.reset();
    dead_ = false;
}

bool Cluster::run_one() {
    if (!alive()) return false;
    bool ran = true;
    try {
        int nobody_served = 0;
        const Frame frame(*this, nobody_served);
        auto done = daemon_->runner.run_one();
        if (!done) world_.say(*this, "tasks: " + done.error().text());
        ran = done && *done;
    } catch (const Killed&) {
        settle_death();
        if (frames_ > 0) throw;  // the frames below are of the same process
    }
    return ran;
}

void Cluster::run_all() {
    while (run_one()) {
    }
}

Result<> Cluster::contact(const Cluster& peer) {
    if (!alive()) return fail(ErrorKind::unavailable, name() + " has no daemon");
    try {
        int nobody_served = 0;
        const Frame frame(*this, nobody_served);
        return tasks::contact_peer(daemon_->site, peer.id(), capabilities());
    } catch (const Killed&) {
        settle_death();
        if (frames_ > 0) throw;
    }
    return fail(ErrorKind::unavailable, name() + " died over it");
}

void Cluster::die_at(std::string call, bool after, unsigned nth) {
    doom_ = Doom{std::move(call), after, nth};
}

bool Cluster::doomed(std::string_view call, bool after) {
    if (world_.chance().one_in(world_.weather.dies)) return true;
    if (!doom_ || doom_->after != after) return false;
    if ((!doom_->call.empty() && doom_->call != call) || --doom_->left > 0) return false;
    doom_.reset();
    return true;
}

void Cluster::die(const std::string& where) {
    world_.say(*this, "the daemon dies " + where);
    dead_ = true;
    throw Killed{this};
}

void Cluster::check_alive() const {
    if (dead_) throw Killed{this};
}

Result<> Cluster::before(std::string_view call) {
    if (frames_ == 0 || outside_) return {};  // the operator's or the host's own doing
    check_alive();
    world_.let_time_pass(*this, call);
    check_alive();
    if (doomed(call, false)) die(fmt::format("before {}", call));
    if (!world_.chance().one_in(world_.weather.call_fails)) return {};
    world_.say(*this, fmt::format("{} fails", call));
    return fail(ErrorKind::unavailable, fmt::format("{} failed in the simulation", call));
}

Result<> Cluster::after(std::string_view call) {
    if (frames_ == 0 || outside_) return {};
    check_alive();
    if (doomed(call, true)) die(fmt::format("after {}", call));
    // What a catalog or a pool did, it also says; libvirt may go away in between.
    const bool may_be_lost = call.starts_with("hypervisor.");
    if (!may_be_lost || !world_.chance().one_in(world_.weather.call_fails)) return {};
    world_.say(*this, fmt::format("the reply of {} is lost", call));
    return fail(ErrorKind::unavailable, fmt::format("{} lost its reply in the simulation", call));
}

std::optional<TaskId> Cluster::queue(std::string_view kind, const VmId& vm,
                                     const std::string& title, nlohmann::json arguments) {
    if (!alive()) return std::nullopt;
    arguments["vm"] = vm.text();
    auto task = tasks::new_task(daemon_->site, kind, vm, title, arguments);
    must(catalog_->add_task(task));
    world_.say(*this, "queued: " + title);
    return task.id;
}

Result<> Cluster::start_vm(const VmId& vm) {
    return operate([&](Daemon& here) -> Result<> {
        UNDERSTUDY_TRY(tasks::check_start(here.site, vm));
        return here.site.hypervisor.start(vm);
    });
}

Result<> Cluster::start_by_hand(const VmId& vm) {
    return operate([&](Daemon& here) -> Result<> {
        UNDERSTUDY_TRY(tasks::check_may_start(here.site, vm));
        UNDERSTUDY_TRY(tasks::check_no_moment_is_open(here.site, vm));
        return here.site.hypervisor.start(vm);
    });
}

model::Task Cluster::task(const TaskId& id) {
    return must(catalog_->task(id));
}

VmId Cluster::create_vm(const std::string& name, const std::vector<ByteSize>& sizes) {
    const auto vm = world_.chance().id<VmId>();
    hypervisor_.add(vm, name, {});
    char letter = 'a';
    for (const auto size : sizes) plug(vm, fmt::format("vd{}", letter++), size);
    must(hypervisor_.start(vm));
    return vm;
}

std::vector<ports::VmSummary> Cluster::machines() {
    outside_ = true;
    auto all = hypervisor_.list();
    outside_ = false;
    if (!all) throw std::runtime_error(all.error().text());
    return std::move(*all);
}

bool Cluster::is_copy(const VmId& vm) const {
    const auto task = catalog_->task(TaskId(vm.bytes()));
    return task && task->kind == tasks::kReplicaDrill;
}

void Cluster::stop_vm(const VmId& vm) {
    outside_ = true;
    auto stopped = hypervisor_.stop(vm);
    outside_ = false;
    must(stopped);
    world_.say(*this, "a VM is stopped");
}

void Cluster::plug(const VmId& vm, const std::string& target, ByteSize size) {
    const auto source = pool_.create_disk(fmt::format("/disks/{}/{}", name(), ++disks_made_), size);
    hypervisor_.plug(vm, {target, source, size, {}});
    hypervisor_.images(vm)[target] = Image(size);
}

void Cluster::unplug(const VmId& vm, const std::string& target) {
    hypervisor_.unplug(vm, target);
    hypervisor_.images(vm).erase(target);
}

namespace {

const ports::DiskDescription* find_disk(const std::vector<ports::DiskDescription>& disks,
                                        const std::string& target) {
    for (const auto& disk : disks)
        if (disk.target == target) return &disk;
    return nullptr;
}

}  // namespace

bool Cluster::write(const VmId& vm, const std::string& target, std::uint64_t sector,
                    std::uint64_t count, std::uint64_t stamp) {
    const auto disks = hypervisor_.disks(vm);
    const auto* disk = find_disk(disks, target);
    auto& image = hypervisor_.images(vm)[target];
    if (disk == nullptr || !hypervisor_.runs(vm)) return false;
    auto written = image;
    written.write(sector, count, stamp);
    std::vector<std::byte> bytes(count * Image::kSector);
    written.read(sector, bytes);
    if (!pool_.write_disk(disk->source.location, ByteOffset(sector * Image::kSector), bytes))
        return false;
    image = std::move(written);
    return true;
}

bool Cluster::trim(const VmId& vm, const std::string& target, std::uint64_t sector,
                   std::uint64_t count) {
    const auto disks = hypervisor_.disks(vm);
    const auto* disk = find_disk(disks, target);
    if (disk == nullptr || !hypervisor_.runs(vm)) return false;
    if (!pool_.trim_disk(disk->source.location, ByteOffset(sector * Image::kSector),
                         ByteSize(count * Image::kSector)))
        return false;
    hypervisor_.images(vm)[target].trim(sector, count);
    return true;
}

bool Cluster::grow(const VmId& vm, const std::string& target, ByteSize size) {
    const auto disks = hypervisor_.disks(vm);
    const auto* disk = find_disk(disks, target);
    if (disk == nullptr || !pool_.resize_disk(disk->source.location, size)) return false;
    hypervisor_.set_disk_size(vm, target, size);
    hypervisor_.images(vm)[target].grow(size);
    return true;
}

}  // namespace understudy::sim
