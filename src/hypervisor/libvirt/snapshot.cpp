#include "hypervisor/libvirt/snapshot.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/freeze.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <utility>

// The one moment of a snapshot. If a guest agent is connected, the guest's file systems are frozen,
// for at most the limit. If some disks cannot have overlays, the VM is paused and `still` snapshots
// those. Then libvirt switches all named disks to their overlays in one call, the VM goes on, and
// the guest is thawed. The thaw runs whatever failed. A crash in this moment may leave the guest
// frozen or the VM paused, or on overlays that libvirt does not know of; thaw() and
// repair_interrupted_snapshot (stray_layers.cpp) mend that.

namespace understudy::libvirt {
namespace {

using model::Consistency;

constexpr Duration kThawLimit{5000};

Result<> freeze_file_systems(virDomainPtr domain) {
    if (virDomainFSFreeze(domain, nullptr, 0, 0) >= 0) return {};
    return fail(domain_error(domain, "freeze the file systems of"));
}

Result<> thaw_file_systems(virDomainPtr domain) {
    if (virDomainFSThaw(domain, nullptr, 0, 0) >= 0) return {};
    return fail(domain_error(domain, "thaw the file systems of"));
}

// Unless it is told otherwise, libvirt waits for an agent's answer without end. The setting belongs
// to the domain, so the default is set again afterwards.
class AgentTimeout {
public:
    AgentTimeout(virDomainPtr domain, Duration limit) : domain_(domain) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(limit).count();
        virDomainAgentSetResponseTimeout(domain_, static_cast<int>(std::max<long>(seconds, 1)), 0);
    }
    ~AgentTimeout() {
        virDomainAgentSetResponseTimeout(domain_, VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0);
    }
    AgentTimeout(const AgentTimeout&) = delete;
    AgentTimeout& operator=(const AgentTimeout&) = delete;

private:
    virDomainPtr domain_;
};

// How many of the switches the domain already stands on.
std::size_t already_switched(const std::vector<ports::DiskDescription>& disks,
                             const std::vector<ports::DiskSwitch>& switches) {
    std::map<std::string, std::string> files;
    for (const auto& disk : disks) files[disk.target] = disk.source.location;
    return static_cast<std::size_t>(
        std::count_if(switches.begin(), switches.end(), [&](const ports::DiskSwitch& change) {
            const auto at = files.find(change.target);
            return at != files.end() && at->second == change.source.location;
        }));
}

Result<> switch_disks(virDomainPtr domain, const std::string& snapshot) {
    constexpr unsigned kFlags =
        VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
        VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT;
    const SnapshotHandle made(virDomainSnapshotCreateXML(domain, snapshot.c_str(), kFlags));
    if (!made) return fail(domain_error(domain, "switch to new layers the disks of"));
    return {};
}

// What happens in the one moment. `snapshot` is empty if no disk is switched. Returns what `frozen`
// says during it.
Result<bool> in_one_moment(Pauses& pauses, virDomainPtr domain, const std::string& snapshot,
                           const std::function<Result<>()>& still,
                           const std::function<bool()>& frozen) {
    if (!still) {
        UNDERSTUDY_TRY(switch_disks(domain, snapshot));
        return frozen();
    }
    auto pause = UNDERSTUDY_VALUE(Pause::begin(pauses, domain));
    // A guest that is frozen when it is paused stays frozen, whatever it is told meanwhile.
    const bool was_frozen = frozen();
    auto done = still();
    if (done && !snapshot.empty()) done = switch_disks(domain, snapshot);
    auto resumed = pause.end();
    if (!done && !resumed) return fail(std::move(resumed.error()).during(done.error().what()));
    UNDERSTUDY_TRY(std::move(done));
    UNDERSTUDY_TRY(std::move(resumed));
    return was_frozen;
}

}  // namespace

Result<Consistency> take_snapshot(Pauses& pauses, virDomainPtr domain,
                                  const std::vector<ports::DiskSwitch>& switches,
                                  Duration freeze_limit, const std::function<Result<>()>& still) {
    auto active = UNDERSTUDY_VALUE(is_active(domain));
    if (!active) return fail(ErrorKind::conflict, label(domain) + " does not run any more");
    auto live = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    auto disks = UNDERSTUDY_VALUE(disks_in(live, live));

    const auto switched = already_switched(disks, switches);
    if (switched == switches.size() && !switches.empty()) return Consistency::crash;
    if (switched > 0)
        return fail(ErrorKind::conflict, fmt::format("{} uses only {} of the {} prepared layers",
                                                     label(domain), switched, switches.size()));
    auto snapshot =
        UNDERSTUDY_VALUE(switches.empty() ? Result<std::string>{} : snapshot_xml(live, switches));
    auto agent = UNDERSTUDY_VALUE(agent_connected(live));
    if (!agent || freeze_limit <= Duration::zero()) {
        UNDERSTUDY_TRY(in_one_moment(pauses, domain, snapshot, still, [] { return false; }));
        return Consistency::crash;
    }

    const AgentTimeout timeout(domain, freeze_limit);
    Freeze freeze([&] { return freeze_file_systems(domain); },
                  [&] { return thaw_file_systems(domain); }, freeze_limit);
    auto frozen = in_one_moment(pauses, domain, snapshot, still, [&] { return freeze.held(); });
    freeze.thaw();
    if (!frozen) return error_of(frozen);
    return *frozen ? Consistency::filesystem : Consistency::crash;
}

Result<> thaw(virDomainPtr domain) {
    auto active = UNDERSTUDY_VALUE(is_active(domain));
    if (!active) return {};
    auto live = UNDERSTUDY_VALUE(domain_xml(domain, 0));
    auto agent = UNDERSTUDY_VALUE(agent_connected(live));
    if (!agent) return {};
    const AgentTimeout timeout(domain, kThawLimit);
    return thaw_file_systems(domain);
}

}  // namespace understudy::libvirt
