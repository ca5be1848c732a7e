#pragma once

#include "ports/hypervisor.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace understudy::memory {

// Where in the hypervisor's one moment a simulated guest gets to write.
enum class Moment {
    before,  // still into the present heads: inside the snapshot
    after,   // already into the overlays: outside it
};

// One start of a VM, for a checker of promise 3 (at most one cluster runs a VM).
struct StartRecord {
    std::uint64_t number = 0;  // 1, 2, …: the order of starts on this host
    VmId vm;
    std::vector<ports::DiskSwitch> disks;  // what it started on
};

// Hooks into the world outside a hypervisor. All may be empty. They must not call back.
struct WorldHooks {
    // A simulated guest's turn during snapshot().
    std::function<void(const VmId&, const std::vector<ports::DiskDescription>&, Moment)> guest;
    // Moves the bytes of a merge (MemoryPool::perform_merge).
    std::function<Result<>(const ports::LiveMerge&)> merge;
    // The present size of a disk; else the one it was defined with.
    std::function<Result<ByteSize>(const ports::DiskSource&)> size;
    // Asked at the beginning of each call, with the name of the port's function; an error is its
    // outcome, before anything was done. lost_reply is asked after it was done.
    std::function<Result<>(const std::string& call)> fault;
    std::function<Result<>(const std::string& call)> lost_reply;
    // Whether a libvirt that ended amid a snapshot has no record of what it had QEMU switch to.
    std::function<bool()> forgets;
    // Whether it still has none when the VM is off, which is defined with the disks of before.
    std::function<bool()> forgets_for_good;
    // What was written to `top` since a switch that was forgotten goes to `base`, too.
    std::function<Result<>(const std::string& base, const std::string& top)> commit_back;
};

// A libvirt in RAM for simulations. Deterministic: no clock, no randomness, no thread; VMs are
// listed by id. One thread at a time. Definitions are lines of text instead of XML (see
// definition.hpp). Definitions survive power_loss(), running VMs do not.
class MemoryHypervisor : public ports::Hypervisor {
public:
    explicit MemoryHypervisor(WorldHooks hooks = {}) : hooks_(std::move(hooks)) {}

    // The outside world: what an operator or the host does.
    void add(const VmId& vm, const std::string& name, std::vector<ports::DiskDescription> disks,
             bool autostart = false);
    void set_disk_size(const VmId& vm, const std::string& target, ByteSize size);
    void plug(const VmId& vm, const ports::DiskDescription& disk);
    void unplug(const VmId& vm, const std::string& target);
    void set_obstacles(const VmId& vm, std::vector<model::ReadinessIssue> obstacles);
    void set_consistency(model::Consistency outcome) { consistency_ = outcome; }
    void set_capabilities(model::Capabilities capabilities);
    void set_adapt_issues(std::vector<model::ReadinessIssue> issues);
    // Whether a guest that runs is up, as far as its agent, its network and its console tell.
    void set_boots(bool yes) { boots_ = yes; }
    void set_free_memory(ByteSize size) { free_memory_ = size; }
    void power_loss();                                  // of the host: every VM stops at once
    void set_reachable(bool yes) { reachable_ = yes; }  // else every call is `unavailable`

    const std::vector<StartRecord>& starts() const { return starts_; }
    bool runs(const VmId& vm) const;  // running or paused
    const std::map<std::string, std::string>& nvram_files() const { return nvram_; }
    bool frozen(const VmId& vm) const { return frozen_.contains(vm); }
    std::vector<ports::DiskDescription> disks(const VmId& vm) const;  // empty: unknown VM
    // Locations below its disks that its definition names: all must be there for it to start.
    std::vector<std::string> named_layers(const VmId& vm) const;

    Result<std::vector<ports::VmSummary>> list() override;
    Result<ports::VmDescription> describe(const VmId&) override;
    Result<> start(const VmId&) override;
    Result<> shutdown(const VmId&, Duration limit) override;
    Result<> stop(const VmId&) override;
    Result<> pause(const VmId&) override;
    Result<> resume(const VmId&) override;
    Result<model::Consistency> snapshot(const VmId&, const std::vector<ports::DiskSwitch>&,
                                        Duration freeze_limit,
                                        const std::function<Result<>()>& still) override;
    Result<> repair_interrupted_snapshot(
        const VmId&, const std::vector<ports::DiskSwitch>&,
        const std::function<Result<>()>& on_overlays_stale) override;
    Result<> thaw(const VmId&) override;
    Result<> set_disks(const VmId&, const std::vector<ports::DiskSwitch>&) override;
    Result<> merge(const VmId&, const std::string& target, const ports::LiveMerge&,
                   const std::function<bool()>& cancelled) override;
    Result<> define(const std::string& domain_xml) override;
    Result<> undefine(const VmId&) override;
    Result<> set_autostart(const VmId&, bool) override;
    Result<std::string> read_nvram(const VmId&) override;
    Result<> write_nvram(const std::string& path, const std::string& bytes) override;
    Result<> remove_nvram(const std::string& path) override;
    Result<std::string> screenshot(const VmId&) override;
    Result<bool> agent_answers(const VmId&) override;
    Result<bool> answers_on(const VmId&, const std::string& address, std::uint16_t port) override;
    Result<ByteSize> free_memory() override;
    Result<model::Capabilities> capabilities() override;
    Result<std::vector<ports::DiskDescription>> disks_of(const std::string&) override;
    Result<ports::Adapted> adapt(const ports::AdaptRequest&) override;

private:
    struct Guest {
        ports::VmSummary summary;
        std::vector<ports::DiskDescription> disks;
        // What libvirt says of them, by target, after a switch that it forgot; else empty.
        std::map<std::string, ports::DiskSource> believed;
        // By target: locations below the disk that the definition names, as libvirt writes them
        // down at a snapshot of a running VM.
        std::map<std::string, std::set<std::string>> layers;
        std::vector<model::ReadinessIssue> obstacles;
        std::string nvram_path;  // empty: a BIOS guest
        std::vector<std::string> networks;
    };

    Result<> begin(const std::string& call);
    Result<> end(const std::string& call);
    Result<Guest*> find(const VmId& vm);
    void switch_off(Guest& guest);
    Result<> change_state(const VmId& vm, const std::string& call, ports::VmState from,
                          ports::VmState to);
    ByteSize size_of(const ports::DiskDescription& disk) const;

    WorldHooks hooks_;
    std::map<VmId, Guest> guests_;
    std::map<std::string, std::string> nvram_;  // by path
    std::set<VmId> frozen_;  // guests, while a snapshot is taken, or since its daemon died over it
    std::vector<StartRecord> starts_;
    std::vector<model::ReadinessIssue> adapt_issues_;
    model::Capabilities capabilities_;
    model::Consistency consistency_ = model::Consistency::crash;
    bool reachable_ = true;
    bool boots_ = true;
    ByteSize free_memory_ = base::GiB(64);
};

}  // namespace understudy::memory
