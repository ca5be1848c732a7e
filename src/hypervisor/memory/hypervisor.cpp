#include "hypervisor/memory/hypervisor.hpp"

#include "hypervisor/memory/definition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace understudy::memory {
namespace {

using ports::VmState;

ports::DiskDescription* find_disk(std::vector<ports::DiskDescription>& disks,
                                  const std::string& target) {
    const auto at = std::find_if(disks.begin(), disks.end(),
                                 [&](const auto& disk) { return disk.target == target; });
    return at == disks.end() ? nullptr : &*at;
}

Result<> switch_sources(std::vector<ports::DiskDescription>& disks,
                        const std::vector<ports::DiskSwitch>& switches, ErrorKind unknown) {
    auto changed = disks;
    for (const auto& change : switches) {
        auto* disk = find_disk(changed, change.target);
        if (disk == nullptr)
            return fail(unknown, fmt::format("the VM has no disk '{}'", change.target));
        disk->source = change.source;
    }
    disks = std::move(changed);
    return {};
}

}  // namespace

Result<> MemoryHypervisor::begin(const std::string& call) {
    if (!reachable_) return fail(ErrorKind::unavailable, "the hypervisor does not answer");
    if (hooks_.fault) return hooks_.fault(call);
    return {};
}

Result<> MemoryHypervisor::end(const std::string& call) {
    if (hooks_.lost_reply) return hooks_.lost_reply(call);
    return {};
}

Result<MemoryHypervisor::Guest*> MemoryHypervisor::find(const VmId& vm) {
    const auto at = guests_.find(vm);
    if (at == guests_.end())
        return fail(ErrorKind::not_found, fmt::format("no VM with UUID {}", vm.text()));
    return &at->second;
}

ByteSize MemoryHypervisor::size_of(const ports::DiskDescription& disk) const {
    if (!hooks_.size) return disk.size;
    return hooks_.size(disk.source).value_or(disk.size);
}

Result<std::vector<ports::VmSummary>> MemoryHypervisor::list() {
    UNDERSTUDY_TRY(begin("list"));
    std::vector<ports::VmSummary> summaries;
    for (const auto& [id, guest] : guests_) summaries.push_back(guest.summary);
    return summaries;
}

Result<ports::VmDescription> MemoryHypervisor::describe(const VmId& vm) {
    UNDERSTUDY_TRY(begin("describe"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    ports::VmDescription description;
    description.summary = guest->summary;
    description.disks = guest->disks;
    for (auto& disk : description.disks)
        if (const auto known = guest->believed.find(disk.target); known != guest->believed.end())
            disk.source = known->second;
    for (auto& disk : description.disks) disk.size = size_of(disk);
    description.has_nvram = !guest->nvram_path.empty();
    description.obstacles = guest->obstacles;
    description.domain_xml = format_definition(
        {guest->summary.name, vm, description.disks, guest->networks, guest->nvram_path});
    return description;
}

Result<> MemoryHypervisor::start(const VmId& vm) {
    UNDERSTUDY_TRY(begin("start"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    auto& summary = guest->summary;
    if (summary.state == VmState::paused)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is paused", summary.name));
    if (summary.state == VmState::stopped) {
        StartRecord record{starts_.size() + 1, vm, {}};
        for (const auto& disk : guest->disks) record.disks.push_back({disk.target, disk.source});
        starts_.push_back(std::move(record));
        summary.state = VmState::running;
    }
    return end("start");
}

void MemoryHypervisor::switch_off(Guest& guest) {
    guest.summary.state = VmState::stopped;
    if (hooks_.forgets_for_good && hooks_.forgets_for_good())
        for (auto& disk : guest.disks)
            if (const auto known = guest.believed.find(disk.target); known != guest.believed.end())
                disk.source = known->second;
    guest.believed.clear();
}

Result<> MemoryHypervisor::shutdown(const VmId& vm, Duration) {
    UNDERSTUDY_TRY(begin("shutdown"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state == VmState::paused)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is paused", guest->summary.name));
    switch_off(*guest);
    return end("shutdown");
}

Result<> MemoryHypervisor::stop(const VmId& vm) {
    UNDERSTUDY_TRY(begin("stop"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    switch_off(*guest);
    frozen_.erase(vm);
    return end("stop");
}

Result<> MemoryHypervisor::change_state(const VmId& vm, const std::string& call, VmState from,
                                        VmState to) {
    UNDERSTUDY_TRY(begin(call));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    auto& state = guest->summary.state;
    if (state != from && state != to)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is stopped", guest->summary.name));
    state = to;
    return end(call);
}

Result<> MemoryHypervisor::pause(const VmId& vm) {
    return change_state(vm, "pause", VmState::running, VmState::paused);
}

Result<> MemoryHypervisor::resume(const VmId& vm) {
    return change_state(vm, "resume", VmState::paused, VmState::running);
}

Result<model::Consistency> MemoryHypervisor::snapshot(
    const VmId& vm, const std::vector<ports::DiskSwitch>& switches, Duration freeze_limit,
    const std::function<Result<>()>& still) {
    UNDERSTUDY_TRY(begin("snapshot"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state == VmState::stopped)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' does not run", guest->summary.name));
    // As QEMU does to a libvirt that is mistaken about what it runs on.
    if (!switches.empty() && !guest->believed.empty())
        return fail(ErrorKind::unavailable, "an overlay is in use already");
    auto& disks = guest->disks;
    const auto switched = std::count_if(switches.begin(), switches.end(), [&](const auto& change) {
        const auto* disk = find_disk(disks, change.target);
        return disk != nullptr && disk->source == change.source;
    });
    if (!switches.empty() && switched == static_cast<std::ptrdiff_t>(switches.size()))
        return model::Consistency::crash;
    if (switched > 0) return fail(ErrorKind::conflict, "only some disks use the prepared layers");
    if (consistency_ == model::Consistency::filesystem && freeze_limit > Duration(0))
        frozen_.insert(vm);
    const bool guest_runs = guest->summary.state == VmState::running && hooks_.guest;
    if (guest_runs) hooks_.guest(vm, disks, Moment::before);
    for (auto& disk : disks) disk.size = size_of(disk);
    std::map<std::string, ports::DiskSource> before;
    for (const auto& disk : disks) before[disk.target] = disk.source;
    const auto state = guest->summary.state;
    if (still) guest->summary.state = VmState::paused;  // a caller that dies leaves it so
    auto done = still ? still() : Result<>{};
    if (done) done = switch_sources(disks, switches, ErrorKind::conflict);
    if (done)
        for (const auto& change : switches)
            guest->layers[change.target].insert(before[change.target].location);
    guest->summary.state = state;
    if (done && guest_runs) hooks_.guest(vm, disks, Moment::after);
    const auto forget = [&] {
        if (!switches.empty() && hooks_.forgets && hooks_.forgets()) guest->believed = before;
    };
    try {
        if (done) done = end("snapshot");  // a caller that dies here thaws nothing any more
    } catch (...) {
        forget();
        throw;
    }
    frozen_.erase(vm);
    if (!done) forget();
    UNDERSTUDY_TRY(std::move(done));
    return consistency_;
}

Result<> MemoryHypervisor::repair_interrupted_snapshot(
    const VmId& vm, const std::vector<ports::DiskSwitch>& switches,
    const std::function<Result<>()>& on_overlays_stale) {
    UNDERSTUDY_TRY(begin("repair_interrupted_snapshot"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state == VmState::stopped)
        return fail(ErrorKind::unavailable, "the VM is off by now");
    auto& believed = guest->believed;
    const bool is_known =
        believed.empty() && std::ranges::any_of(switches, [&](const ports::DiskSwitch& change) {
            const auto* disk = find_disk(guest->disks, change.target);
            return disk != nullptr && disk->source == change.source;
        });
    if (is_known || (believed.empty() && guest->summary.state == VmState::running))
        return end("repair_interrupted_snapshot");
    for (auto& disk : guest->disks) {
        const auto known = believed.find(disk.target);
        if (known == believed.end() || known->second == disk.source) continue;
        if (hooks_.commit_back)
            UNDERSTUDY_TRY(hooks_.commit_back(known->second.location, disk.source.location));
        disk.source = known->second;
        guest->layers.erase(disk.target);
    }
    believed.clear();
    const auto state = guest->summary.state;
    guest->summary.state = VmState::paused;  // a caller that dies leaves it so
    UNDERSTUDY_TRY(on_overlays_stale());
    guest->summary.state = state;
    return end("repair_interrupted_snapshot");
}

Result<> MemoryHypervisor::thaw(const VmId& vm) {
    UNDERSTUDY_TRY(begin("thaw"));
    UNDERSTUDY_TRY(find(vm));
    frozen_.erase(vm);
    return end("thaw");
}

Result<> MemoryHypervisor::set_disks(const VmId& vm,
                                     const std::vector<ports::DiskSwitch>& switches) {
    UNDERSTUDY_TRY(begin("set_disks"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state != VmState::stopped)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is running", guest->summary.name));
    UNDERSTUDY_TRY(switch_sources(guest->disks, switches, ErrorKind::invalid));
    for (const auto& change : switches) guest->layers.erase(change.target);
    return end("set_disks");
}

Result<> MemoryHypervisor::merge(const VmId& vm, const std::string& target,
                                 const ports::LiveMerge& merge,
                                 const std::function<bool()>& cancelled) {
    UNDERSTUDY_TRY(begin("merge"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state == VmState::stopped)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' does not run", guest->summary.name));
    auto* disk = find_disk(guest->disks, target);
    if (disk == nullptr)
        return fail(ErrorKind::not_found, fmt::format("the VM has no disk '{}'", target));
    const bool done = merge.top_is_head && disk->source.location == merge.base;
    const bool at_top = disk->source.location == merge.top;
    if (!done && at_top != merge.top_is_head)
        return fail(ErrorKind::conflict, fmt::format("disk {} is not on the layers {} over {}",
                                                     target, merge.top, merge.base));
    if (!done && cancelled && cancelled())
        return fail(ErrorKind::cancelled, "the merge was cancelled");
    if (hooks_.merge) UNDERSTUDY_TRY(hooks_.merge(merge));
    if (merge.top_is_head) disk->source.location = merge.base;
    guest->layers[target].erase(merge.top_is_head ? merge.base : merge.top);
    return end("merge");
}

}  // namespace understudy::memory
