#pragma once

#include "fated_pool.hpp"
#include "hypervisor/memory/hypervisor.hpp"
#include "image.hpp"

#include <functional>
#include <map>
#include <string>

namespace understudy::sim {

// What each disk of one VM holds, by target.
using Images = std::map<std::string, Image>;

// What every snapshot that was ever taken must hold, whoever has it.
using Recorded = std::map<SnapshotId, Images>;

// A hypervisor that knows what its guests wrote: the disks that a VM must find, whatever layers
// they are made of, and what they held at the moment of each snapshot.
class StageHypervisor final : public memory::MemoryHypervisor {
public:
    StageHypervisor(memory::WorldHooks hooks, Locations& locations, Recorded& recorded);

    Images& images(const VmId& vm) { return images_[vm]; }
    // Asked before a VM starts; an error is its outcome.
    std::function<Result<>(const VmId&)> on_start;

    Result<model::Consistency> snapshot(const VmId&, const std::vector<ports::DiskSwitch>&,
                                        Duration freeze_limit,
                                        const std::function<Result<>()>& still) override;
    Result<> set_disks(const VmId&, const std::vector<ports::DiskSwitch>&) override;
    Result<> define(const std::string& domain_xml) override;
    Result<> start(const VmId&) override;
    Result<> undefine(const VmId&) override;
    // Told before a definition goes: what its disks hold must not go with it.
    std::function<void(const VmId&, const Images&)> on_undefine;

private:
    class Redefinition;
    class Switch;

    memory::WorldHooks with_moment(memory::WorldHooks hooks);
    void begin_moment(const VmId&, const std::vector<ports::DiskSwitch>&);
    void record(const VmId&);
    std::pair<Images*, std::string> disk_at(const std::string& location);  // of which VM, target

    Locations& locations_;
    Recorded& recorded_;
    std::map<VmId, Images> images_;
    SnapshotId moment_;  // nil: none is being taken
    std::vector<std::string> moment_targets_;
};

}  // namespace understudy::sim
