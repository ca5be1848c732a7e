#include "checks.hpp"

#include "base/must_test.hpp"
#include "hypervisor/memory/definition.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace understudy::sim {
namespace {

constexpr std::uint64_t kBlock = 4096;

// The blocks that a snapshot of a disk may differ from zeroes in: those it has, and those that it
// must have.
std::set<std::uint64_t> blocks_of(ports::ExtentStream& extents, const Image& image) {
    std::set<std::uint64_t> blocks;
    while (auto extent = must(extents.next())) {
        if (extent->kind == model::ExtentKind::zero) continue;
        for (auto at = extent->offset.count(); at < extent->end().count(); at += kBlock)
            blocks.insert(at / kBlock);
    }
    for (const auto& [sector, stamp] : image.sectors())
        blocks.insert(sector * Image::kSector / kBlock);
    return blocks;
}

std::string disk_differs(Cluster& cluster, const model::SnapshotDisk& disk, const SnapshotId& id,
                         const Image& image) {
    auto reader = cluster.pool().open_snapshot(disk.volume, id);
    if (!reader) return "it cannot be opened: " + reader.error().text();
    if ((*reader)->size() != image.size() || disk.size != image.size())
        return fmt::format("its size is {}, recorded as {}, and was {}", (*reader)->size().count(),
                           disk.size.count(), image.size().count());
    const auto extents = must(cluster.pool().changes(disk.volume, std::nullopt, id, ByteOffset(0)));
    std::vector<std::byte> bytes;
    for (const auto block : blocks_of(*extents, image)) {
        const auto at = block * kBlock;
        bytes.resize(std::min(kBlock, image.size().count() - at));
        if (auto read = (*reader)->read(ByteOffset(at), bytes); !read) return read.error().text();
        if (auto where = image.differs(at, bytes); !where.empty()) return where;
    }
    return {};
}

void check_definition(World& world, Cluster& cluster, const model::Snapshot& snapshot,
                      const std::string& name) {
    auto definition = cluster.catalog().definition(snapshot.id);
    if (!definition)
        return world.broken(fmt::format("promise 1: {} is listed without its definition", name));
    std::set<std::string> defined;
    for (const auto& disk : must(memory::parse_definition(definition->domain_xml)).disks)
        defined.insert(disk.target);
    for (const auto& disk : snapshot.disks)
        if (defined.erase(disk.target) == 0)
            world.broken(
                fmt::format("promise 1: the definition of {} has no {}", name, disk.target));
    for (const auto& target : defined)
        world.broken(
            fmt::format("promise 1: the definition of {} has {}, it has not", name, target));
}

void check_snapshot(World& world, Cluster& cluster, const model::Vm& vm,
                    const model::Snapshot& snapshot) {
    const auto name = fmt::format("{}@{} on {}", vm.name, snapshot.name, cluster.name());
    const auto recorded = world.recorded().find(snapshot.id);
    if (recorded == world.recorded().end())
        return world.broken(fmt::format("promise 1: {} is listed, but was never taken", name));
    check_definition(world, cluster, snapshot, name);
    if (recorded->second.size() != snapshot.disks.size())
        world.broken(fmt::format("promise 2: {} has {} disks, and had {}", name,
                                 snapshot.disks.size(), recorded->second.size()));
    for (const auto& disk : snapshot.disks) {
        const auto image = recorded->second.find(disk.target);
        if (image == recorded->second.end())
            return world.broken(
                fmt::format("promise 2: {} has {}, which it never had", name, disk.target));
        if (auto where = disk_differs(cluster, disk, snapshot.id, image->second); !where.empty())
            world.broken(fmt::format("promise 1, 2: {} {}: {}", name, disk.target, where));
    }
}

// `also_stopped`: between two steps of a task a stopped VM's disks may be on their way.
void check_guest(World& world, Cluster& cluster, const ports::VmSummary& vm, bool also_stopped) {
    if (!also_stopped && !cluster.hypervisor().runs(vm.id)) return;
    std::vector<std::byte> bytes;
    for (const auto& disk : cluster.hypervisor().disks(vm.id)) {
        const auto& image = cluster.hypervisor().images(vm.id)[disk.target];
        const auto name = fmt::format("{} {} on {}", vm.name, disk.target, cluster.name());
        const auto size = cluster.pool().disk_size(disk.source.location);
        if (!size) {
            world.broken(
                fmt::format("promise 6: the disk of {} is gone: {}", name, size.error().text()));
            continue;
        }
        if (*size != image.size())
            world.broken(fmt::format("promise 6: {} has {} bytes now, and had {}", name,
                                     size->count(), image.size().count()));
        bytes.resize(std::min(*size, image.size()).count());
        if (auto read = cluster.pool().read_disk(disk.source.location, ByteOffset(0), bytes); !read)
            world.broken(fmt::format("promise 6: {}: {}", name, read.error().text()));
        else if (auto where = image.differs(0, bytes); !where.empty())
            world.broken(fmt::format("promise 6: the guest of {} finds: {}", name, where));
    }
}

// Promise 4: while a peer holds snapshots of a VM that it got from here, one of them is here too,
// so that the next send is incremental.
void check_base(World& world, Cluster& cluster, const model::Vm& vm) {
    if (vm.ownership.phase != model::Phase::owned || world.released.contains(vm.id)) return;
    for (const auto& sent : must(cluster.catalog().replications(vm.id))) {
        auto* peer = world.find(sent.peer);
        const auto there = must(peer->catalog().find_vm(vm.id));
        if (!there || there->ownership.phase != model::Phase::replica ||
            there->ownership.owner != cluster.id())
            continue;
        const auto theirs = must(peer->catalog().snapshots(vm.id));
        const auto ours = must(cluster.catalog().snapshots(vm.id));
        const bool common = std::ranges::any_of(theirs, [&](const auto& snapshot) {
            return std::ranges::any_of(ours, [&](const auto& o) { return o.id == snapshot.id; });
        });
        // What an operator removed there may have come back from a third cluster.
        const bool from_here = std::ranges::any_of(theirs, [&](const auto& snapshot) {
            return snapshot.id == sent.snapshot || snapshot.origin == cluster.id();
        });
        if (from_here && !common)
            world.broken(
                fmt::format("promise 4: {} and {} have no snapshot of {} in common any more",
                            cluster.name(), peer->name(), vm.name));
    }
}

void check_no_work_left(World& world, Cluster& cluster) {
    for (const auto& task : must(cluster.catalog().tasks({std::nullopt, true, 1000})))
        world.broken(fmt::format("promise 5: {}: '{}' is still {}, at {}: {}", cluster.name(),
                                 task.title, model::to_string(task.state), task.step, task.error));
    for (const auto& vm : cluster.machines())
        if (cluster.is_copy(vm.id))
            world.broken(fmt::format("promise 5: {} is left on {}", vm.name, cluster.name()));
    for (const auto& transfer : must(cluster.catalog().transfers()))
        world.broken(fmt::format("promise 5: {} still receives {}@{}", cluster.name(),
                                 transfer.request.vm_name, transfer.request.snapshot.name));
    for (const auto& vm : must(cluster.catalog().vms()))
        for (const auto& hold : must(cluster.catalog().holds(vm.id)))
            if (hold.kind == model::HoldKind::transfer || hold.kind == model::HoldKind::drill)
                world.broken(fmt::format("promise 5: {} still holds a snapshot of {} for {}",
                                         cluster.name(), vm.name, hold.detail));
}

void check_pool(World& world, Cluster& cluster) {
    std::map<VolumeId, std::set<SnapshotId>> wanted;
    for (const auto& vm : must(cluster.catalog().vms())) {
        for (const auto& disk : vm.disks) wanted[disk.volume];
        for (const auto& snapshot : must(cluster.catalog().snapshots(vm.id)))
            for (const auto& disk : snapshot.disks) wanted[disk.volume].insert(snapshot.id);
    }
    // A VM that was superseded here is still defined, on the writes that nobody else has.
    std::set<std::string> defined;
    for (const auto& vm : cluster.machines())
        for (const auto& disk : cluster.hypervisor().disks(vm.id))
            defined.insert(disk.source.location);
    // One that nobody resolves, because it lost a disk, may be stuck in a rollback of that disk.
    std::set<VolumeId> stuck;
    for (const auto& vm : must(cluster.catalog().vms()))
        if (vm.ownership.phase == model::Phase::superseded && world.unplugged.contains(vm.id))
            for (const auto& snapshot : must(cluster.catalog().snapshots(vm.id)))
                for (const auto& disk : snapshot.disks) stuck.insert(disk.volume);
    for (const auto& volume : cluster.pool().volumes()) {
        if (stuck.contains(volume)) continue;
        const auto head = must(cluster.pool().head(volume));
        if (head && defined.contains(head->location)) continue;
        const auto known = wanted.find(volume);
        if (known == wanted.end()) {
            world.broken(fmt::format("promise 5: pool of {} keeps {}, which nothing refers to",
                                     cluster.name(), volume.text()));
            continue;
        }
        for (const auto& location : cluster.pool().unfinished(volume))
            world.broken(
                fmt::format("promise 5: {} is left unfinished on {}", location, cluster.name()));
        for (const auto& id : must(cluster.pool().snapshots(volume)))
            if (!known->second.contains(id))
                world.broken(fmt::format("promise 5: {} is unlisted on {}, but not removed",
                                         id.text(), cluster.name()));
    }
}

// Promise 3: an operator who promotes while the owner lives takes the risk; nothing else makes a
// VM run twice.
void check_running_once(World& world) {
    std::map<VmId, int> running;
    for (auto& cluster : world.clusters())
        for (const auto& vm : cluster->machines())
            if (vm.state == ports::VmState::running && !world.promoted.contains(vm.id) &&
                !world.released.contains(vm.id) && ++running[vm.id] > 1)
                world.broken(fmt::format("promise 3: {} runs twice", vm.name));
}

}  // namespace

void check_promises(World& world) {
    check_running_once(world);
    for (auto& cluster : world.clusters()) {
        for (const auto& vm : must(cluster->catalog().vms())) {
            for (const auto& snapshot : must(cluster->catalog().snapshots(vm.id)))
                check_snapshot(world, *cluster, vm, snapshot);
            check_base(world, *cluster, vm);
        }
        for (const auto& vm : cluster->machines()) check_guest(world, *cluster, vm, false);
    }
}

void check_superseded_stand_still(World& world) {
    for (auto& cluster : world.clusters())
        for (const auto& vm : cluster->machines()) {
            const auto known = must(cluster->catalog().find_vm(vm.id));
            if (known && known->ownership.phase != model::Phase::owned &&
                vm.state == ports::VmState::running)
                world.broken(
                    fmt::format("promise 3: {} runs on {}, which is not its owner and knows it",
                                vm.name, cluster->name()));
        }
}

void check_settled(World& world) {
    std::map<VmId, int> running;
    for (auto& cluster : world.clusters()) {
        check_no_work_left(world, *cluster);
        check_pool(world, *cluster);
        for (const auto& vm : cluster->machines()) {
            // A superseded one may be stuck in a rollback that may not go on.
            const auto known = must(cluster->catalog().find_vm(vm.id));
            const bool owned = !known || known->ownership.phase == model::Phase::owned;
            check_guest(world, *cluster, vm, owned);
            if (vm.state == ports::VmState::paused && owned)
                world.broken(
                    fmt::format("promise 5: {} stands still on {}", vm.name, cluster->name()));
            if (vm.state == ports::VmState::running && !world.released.contains(vm.id) &&
                ++running[vm.id] > 1)
                world.broken(fmt::format("promise 3: {} runs on more than one cluster", vm.name));
        }
    }
}

}  // namespace understudy::sim
