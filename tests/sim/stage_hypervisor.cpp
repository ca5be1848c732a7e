#include "stage_hypervisor.hpp"

#include "hypervisor/memory/definition.hpp"

namespace understudy::sim {

StageHypervisor::StageHypervisor(memory::WorldHooks hooks, Locations& locations, Recorded& recorded)
    : MemoryHypervisor(with_moment(std::move(hooks))), locations_(locations), recorded_(recorded) {
    locations.taken = [this](const std::string& location, const SnapshotId& id) {
        if (const auto [images, target] = disk_at(location); images != nullptr)
            recorded_[id][target] = (*images)[target];
    };
    locations.taken_back = [this](const std::string& location, const SnapshotId& id) {
        if (const auto [images, target] = disk_at(location); images != nullptr)
            (*images)[target] = recorded_[id][target];
    };
    locations.cancelled = [this](const SnapshotId& id) { recorded_.erase(id); };
}

std::pair<Images*, std::string> StageHypervisor::disk_at(const std::string& location) {
    for (auto& [vm, images] : images_)
        for (const auto& disk : disks(vm))
            if (disk.source.location == location) return {&images, disk.target};
    return {nullptr, {}};
}

memory::WorldHooks StageHypervisor::with_moment(memory::WorldHooks hooks) {
    hooks.guest = [this, guest = std::move(hooks.guest)](
                      const VmId& vm, const std::vector<ports::DiskDescription>& disks,
                      memory::Moment moment) {
        if (guest) guest(vm, disks, moment);
        if (moment == memory::Moment::before) record(vm);
    };
    return hooks;
}

// A call that is repeated after it took place records nothing: that moment is over.
void StageHypervisor::begin_moment(const VmId& vm, const std::vector<ports::DiskSwitch>& switches) {
    moment_ = {};
    moment_targets_.clear();
    for (const auto& change : switches) {
        const auto prepared = locations_.prepared.find(change.source.location);
        if (prepared == locations_.prepared.end()) return;
        for (const auto& disk : disks(vm))
            if (disk.target == change.target && disk.source == change.source) return;
        moment_targets_.push_back(change.target);
    }
    if (!switches.empty()) moment_ = locations_.prepared.at(switches.front().source.location);
    record(vm);
}

void StageHypervisor::record(const VmId& vm) {
    if (moment_.is_nil()) return;
    Images held;
    for (const auto& target : moment_targets_) held[target] = images_[vm][target];
    recorded_[moment_] = std::move(held);
}

// A location that the VM was switched to is no future head any more, whatever the VM is switched to
// later. Also when the call ends in Killed. While a call is under way another VM may have its
// moment.
class StageHypervisor::Switch {
public:
    Switch(StageHypervisor& host, const VmId& vm, const std::vector<ports::DiskSwitch>& switches)
        : host_(host), vm_(vm), outer_(host.moment_), outer_targets_(host.moment_targets_) {
        host.begin_moment(vm, switches);
    }
    ~Switch() {
        for (const auto& disk : host_.disks(vm_))
            host_.locations_.prepared.erase(disk.source.location);
        host_.moment_ = outer_;
        host_.moment_targets_ = std::move(outer_targets_);
    }
    Switch(const Switch&) = delete;
    Switch& operator=(const Switch&) = delete;

private:
    StageHypervisor& host_;
    VmId vm_;
    SnapshotId outer_;
    std::vector<std::string> outer_targets_;
};

Result<model::Consistency> StageHypervisor::snapshot(const VmId& vm,
                                                     const std::vector<ports::DiskSwitch>& switches,
                                                     Duration freeze_limit,
                                                     const std::function<Result<>()>& still) {
    const Switch settles(*this, vm, switches);
    return MemoryHypervisor::snapshot(vm, switches, freeze_limit, still);
}

Result<> StageHypervisor::set_disks(const VmId& vm,
                                    const std::vector<ports::DiskSwitch>& switches) {
    const Switch settles(*this, vm, switches);
    return MemoryHypervisor::set_disks(vm, switches);
}

// A disk that is defined on a new head of a snapshot holds what that snapshot held; any other
// change of its layers must leave it as the guest knows it. Also when the call ends in Killed.
class StageHypervisor::Redefinition {
public:
    Redefinition(StageHypervisor& host, const VmId& vm) : host_(host), vm_(vm) {
        for (const auto& disk : host.disks(vm)) before_[disk.target] = disk.source.location;
    }
    ~Redefinition() {
        Images now;
        for (const auto& disk : host_.disks(vm_)) {
            const auto activated = host_.locations_.activated.find(disk.source.location);
            const bool on_snapshot = before_[disk.target] != disk.source.location &&
                                     activated != host_.locations_.activated.end();
            now[disk.target] = on_snapshot ? host_.recorded_[activated->second][disk.target]
                                           : host_.images_[vm_][disk.target];
        }
        for (const auto& disk : host_.disks(vm_))
            host_.locations_.activated.erase(disk.source.location);
        host_.images_[vm_] = std::move(now);
    }
    Redefinition(const Redefinition&) = delete;
    Redefinition& operator=(const Redefinition&) = delete;

private:
    StageHypervisor& host_;
    VmId vm_;
    std::map<std::string, std::string> before_;
};

Result<> StageHypervisor::define(const std::string& domain_xml) {
    auto definition = memory::parse_definition(domain_xml);
    if (!definition) return MemoryHypervisor::define(domain_xml);
    const Redefinition settles(*this, definition->id);
    return MemoryHypervisor::define(domain_xml);
}

Result<> StageHypervisor::start(const VmId& vm) {
    if (on_start) UNDERSTUDY_TRY(on_start(vm));
    return MemoryHypervisor::start(vm);
}

Result<> StageHypervisor::undefine(const VmId& vm) {
    if (on_undefine && !disks(vm).empty()) on_undefine(vm, images_[vm]);
    return MemoryHypervisor::undefine(vm);
}

}  // namespace understudy::sim
