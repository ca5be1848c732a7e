#pragma once

#include "model/cluster.hpp"
#include "model/snapshot.hpp"
#include "model/vm.hpp"
#include "ports/storage.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace understudy::ports {

enum class VmState { running, paused, stopped };

struct VmSummary {
    VmId id;
    std::string name;
    VmState state = VmState::stopped;
    bool autostart = false;
};

// One disk that travels with the VM. CD-ROM and floppy drives are not listed: they come up empty.
struct DiskDescription {
    std::string target;
    DiskSource source;
    ByteSize size;            // virtual size now; 0 for a network disk: its storage knows
    std::string unsupported;  // empty, or why this disk cannot be snapshotted and sent
};

struct VmDescription {
    VmSummary summary;
    std::vector<DiskDescription> disks;
    std::string domain_xml;  // inactive, without secrets and without the layers of its disks
    bool has_nvram = false;
    // What cannot travel (TPM state, host devices, secrets, shared disks), as it would stand at
    // any target; a `blocks` one is refused at send unless accepted by its key.
    std::vector<model::ReadinessIssue> obstacles;
};

struct DiskSwitch {
    std::string target;
    DiskSource source;
};

// What an XML needs to start on this host, and what was changed for it.
struct AdaptRequest {
    std::string domain_xml;
    std::vector<DiskSwitch> disks;                // every travelling disk's new source
    std::map<std::string, std::string> networks;  // network or bridge there → here
    bool cut_off = false;                         // a drill: no network at all
    std::string new_name;                         // empty: keep
    std::optional<VmId> new_id;
    bool from_here = false;  // a rollback: only the disks change, all else is here as it was
    // With cut_off: cards are plugged into this network or bridge instead, which reaches nothing.
    std::string isolated_network = {};
    std::string console_log = {};  // a drill: what the guest's console says goes there, too
};

struct Adapted {
    std::string domain_xml;
    std::string nvram_path;                     // empty for a BIOS guest
    std::vector<std::string> changes;           // each change in words
    std::vector<model::ReadinessIssue> issues;  // why it would not start, or differently
    bool has_agent = false;    // a channel for a guest agent; whether one is in the guest is open
    bool has_console = false;  // one whose output console_log gets
    ByteSize memory;           // that the guest has at its start
};

// libvirt, seen from the core. Thread-safe. Unknown VM: not_found. Daemon gone: unavailable.
class Hypervisor {
public:
    virtual ~Hypervisor() = default;

    virtual Result<std::vector<VmSummary>> list() = 0;
    virtual Result<VmDescription> describe(const VmId&) = 0;

    virtual Result<> start(const VmId&) = 0;                     // done when it runs already
    virtual Result<> shutdown(const VmId&, Duration limit) = 0;  // asks the guest; waits
    virtual Result<> stop(const VmId&) = 0;                      // at once, like the plug
    virtual Result<> pause(const VmId&) = 0;
    virtual Result<> resume(const VmId&) = 0;

    // One moment over all disks: switches every named disk of a running VM to its (already made)
    // overlay, atomically. Frozen through the guest agent when it answers within the limit
    // (`filesystem`), else `crash`; thaw always runs.
    // When some disks are no overlays, `still` snapshots those: it is called before the switch,
    // once, while the VM is paused and all that it wrote has reached its disks. A VM that ran goes
    // on afterwards, whatever failed; only a crash of this process leaves it paused.
    virtual Result<model::Consistency> snapshot(const VmId&, const std::vector<DiskSwitch>&,
                                                Duration freeze_limit,
                                                const std::function<Result<>()>& still) = 0;
    // Ends a freeze that a snapshot left behind whose daemon died; done when there is none.
    virtual Result<> thaw(const VmId&) = 0;
    // Repairs a snapshot of a running VM that was interrupted, whichever process ended. On success
    // one of these is true:
    // - describe() says that the VM is on its overlays. Its definition says so now, too.
    // - The VM is on the disks that describe() names. If it had been switched to the overlays
    //   without a record of that, all that it wrote to them was committed to those disks.
    // `on_overlays_stale` is called in the second case, if the VM was on the overlays or is paused,
    // before the VM writes again. From that call on the overlays hold old data and must not be
    // attached again. If the VM runs on other disks, it is not called: what its overlays hold is
    // not known then.
    // A VM that ran goes on afterwards. After an error (also one of `on_overlays_stale`) or the end
    // of this process in between it may be paused; call again. unavailable: it takes longer, or the
    // VM is off.
    virtual Result<> repair_interrupted_snapshot(
        const VmId&, const std::vector<DiskSwitch>&,
        const std::function<Result<>()>& on_overlays_stale) = 0;
    // The same as a snapshot for a stopped VM: changes its definition, all disks in one step. From
    // then on the definition names no layer below these disks: the next start finds them by the
    // headers of the files. To be called before a layer of a stopped VM's disk is deleted.
    virtual Result<> set_disks(const VmId&, const std::vector<DiskSwitch>&) = 0;
    // Merges layers under a running VM; returns when done. `cancelled` is asked now and then.
    // Idempotent: a merge that already happened is a success.
    virtual Result<> merge(const VmId&, const std::string& target, const LiveMerge&,
                           const std::function<bool()>& cancelled) = 0;

    virtual Result<> define(const std::string& domain_xml) = 0;  // replaces its definition
    virtual Result<> undefine(const VmId&) = 0;                  // keeps disks and NVRAM file
    virtual Result<> set_autostart(const VmId&, bool) = 0;

    virtual Result<std::string> read_nvram(const VmId&) = 0;  // raw bytes; empty: none
    virtual Result<> write_nvram(const std::string& path, const std::string& bytes) = 0;
    virtual Result<> remove_nvram(const std::string& path) = 0;  // fine if it is not there

    // Looks at a running guest. Each answers within seconds, whatever the guest does.
    virtual Result<std::string> screenshot(const VmId&) = 0;  // PNG; unsupported: no screen
    virtual Result<bool> agent_answers(const VmId&) = 0;
    // Whether a connection can be made, over nothing but the guest's own network. Without an
    // address: to those that libvirt knows of it. invalid: no address.
    virtual Result<bool> answers_on(const VmId&, const std::string& address,
                                    std::uint16_t port) = 0;
    virtual Result<ByteSize> free_memory() = 0;  // of the host, as far as a guest could have it

    // Everything in model::Capabilities that a hypervisor knows (pools and features stay empty).
    virtual Result<model::Capabilities> capabilities() = 0;
    // The disks that travel, as a definition from anywhere states them; sizes are 0. Nothing is
    // looked at but the text: a network disk's location is its image, "POOL/IMAGE".
    virtual Result<std::vector<DiskDescription>> disks_of(const std::string& domain_xml) = 0;
    // Pure apart from looking at this host's capabilities: nothing is defined.
    virtual Result<Adapted> adapt(const AdaptRequest&) = 0;
};

}  // namespace understudy::ports
