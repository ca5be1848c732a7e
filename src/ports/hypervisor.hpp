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
    ByteSize size;            // virtual size now; 0 for a network disk: ask StoragePool::disk_size
    std::string unsupported;  // empty, or why this disk cannot be snapshotted and sent
};

struct VmDescription {
    VmSummary summary;
    std::vector<DiskDescription> disks;
    std::string domain_xml;  // inactive, without secrets and without the layers of its disks
    bool has_nvram = false;
    // What cannot travel to any target (TPM state, host devices, secrets, shared disks). If one
    // `blocks`, a send is refused unless the operator accepts it by its key.
    std::vector<model::ReadinessIssue> obstacles;
};

struct DiskSwitch {
    std::string target;
    DiskSource source;
};

// A definition from elsewhere that is to start on this host, and what it shall have here.
struct AdaptRequest {
    std::string domain_xml;
    std::vector<DiskSwitch> disks;                // every travelling disk's new source
    std::map<std::string, std::string> networks;  // network or bridge there → here
    bool cut_off = false;                         // a drill: no network at all
    std::string new_name;                         // empty: keep
    std::optional<VmId> new_id;
    bool from_here = false;  // a rollback: only the disks change, all else is as it was here
    // With cut_off: the network or bridge that cards are connected to, which reaches nothing else.
    // Empty: none.
    std::string isolated_network = {};
    std::string console_log = {};  // a drill: the guest's console is written to this file, too
};

struct Adapted {
    std::string domain_xml;
    std::string nvram_path;                     // empty for a BIOS guest
    std::vector<std::string> changes;           // each change in words
    std::vector<model::ReadinessIssue> issues;  // why it would not start, or differently
    bool has_agent = false;    // it has a channel for a guest agent; the guest may have no agent
    bool has_console = false;  // it has a console that is written to console_log
    ByteSize memory;           // of the guest at its start
};

// libvirt, seen from the core. Thread-safe. Unknown VM: not_found. Daemon gone: unavailable.
class Hypervisor {
public:
    virtual ~Hypervisor() = default;

    virtual Result<std::vector<VmSummary>> list() = 0;
    virtual Result<VmDescription> describe(const VmId&) = 0;

    virtual Result<> start(const VmId&) = 0;  // success if it runs already
    // Asks the guest and waits until the VM is off. unavailable: it was still on after `limit`.
    virtual Result<> shutdown(const VmId&, Duration limit) = 0;
    virtual Result<> stop(const VmId&) = 0;  // at once, like a power cut
    virtual Result<> pause(const VmId&) = 0;
    virtual Result<> resume(const VmId&) = 0;

    // Takes one moment over all disks: switches every named disk of a running VM to its overlay,
    // which exists already, in one step. If the guest agent answers within the limit, the guest's
    // file systems are frozen for that moment and thawed after it, and the result is `filesystem`.
    // Else it is `crash`.
    // If some disks get no overlay, `still` snapshots those; else it is empty. It is called once,
    // before the switch, while the VM is paused and all that it wrote has reached its disks.
    // A VM that ran goes on afterwards, whatever failed. Only a crash of this process may leave it
    // paused or frozen.
    virtual Result<model::Consistency> snapshot(const VmId&, const std::vector<DiskSwitch>&,
                                                Duration freeze_limit,
                                                const std::function<Result<>()>& still) = 0;
    // Ends a freeze that is left of a snapshot whose daemon died. Success if there is none.
    virtual Result<> thaw(const VmId&) = 0;
    // Repairs a snapshot of a running VM that was interrupted, whichever process ended. On success
    // one of these is true:
    // - describe() says that the VM is on its overlays. Its definition says so now, too.
    // - The VM is on the disks that describe() names. If it had been switched to the overlays
    //   without a record of that, all that it wrote to them was committed to those disks.
    // `on_overlays_stale`, second case only: called before the VM writes again, if it was on the
    // overlays or is paused. From that call on the overlays hold old data and must not be attached
    // again. If the VM runs on other disks, it is not called: what its overlays hold is not known
    // then.
    // A VM that ran goes on afterwards. After an error (also one of `on_overlays_stale`) or the end
    // of this process in between it may be paused; call again. unavailable: it takes longer, or the
    // VM is off.
    virtual Result<> repair_interrupted_snapshot(
        const VmId&, const std::vector<DiskSwitch>&,
        const std::function<Result<>()>& on_overlays_stale) = 0;
    // The switch for a stopped VM: puts these disks into its definition, all in one step. After
    // that the definition names no layer below these disks, and the next start finds the layers by
    // the headers of the files. Must be called before a layer of a stopped VM's disk is deleted.
    virtual Result<> set_disks(const VmId&, const std::vector<DiskSwitch>&) = 0;
    // Merges layers under a running VM, and returns when that is done. `cancelled` is asked now and
    // then. If the merge has happened already, that is a success.
    virtual Result<> merge(const VmId&, const std::string& target, const LiveMerge&,
                           const std::function<bool()>& cancelled) = 0;

    virtual Result<> define(const std::string& domain_xml) = 0;  // replaces its definition
    virtual Result<> undefine(const VmId&) = 0;                  // keeps disks and NVRAM file
    virtual Result<> set_autostart(const VmId&, bool) = 0;

    virtual Result<std::string> read_nvram(const VmId&) = 0;  // raw bytes; empty: none
    virtual Result<> write_nvram(const std::string& path, const std::string& bytes) = 0;
    virtual Result<> remove_nvram(const std::string& path) = 0;  // fine if it is not there

    // The next three look at a running guest. Each returns within seconds, whatever the guest does.
    virtual Result<std::string> screenshot(const VmId&) = 0;  // PNG; unsupported: no screen
    virtual Result<bool> agent_answers(const VmId&) = 0;
    // Whether a TCP connection to the guest can be made, over the guest's own network only. If
    // `address` is empty, the addresses that libvirt knows of the guest are tried. invalid:
    // `address` is no numeric IP address.
    virtual Result<bool> answers_on(const VmId&, const std::string& address,
                                    std::uint16_t port) = 0;
    virtual Result<ByteSize> free_memory() = 0;  // of the host, as much as a guest could get

    // Fills what a hypervisor knows of model::Capabilities; pools and features stay empty.
    virtual Result<model::Capabilities> capabilities() = 0;
    // The disks that travel, as a definition from any host states them. Only the text is read: all
    // sizes are 0, and a network disk's location is its image, "POOL/IMAGE".
    virtual Result<std::vector<DiskDescription>> disks_of(const std::string& domain_xml) = 0;
    // Changes the text only. Reads this host's capabilities; defines nothing.
    virtual Result<Adapted> adapt(const AdaptRequest&) = 0;
};

}  // namespace understudy::ports
