#pragma once

#include "ports/hypervisor.hpp"

#include <optional>
#include <string>
#include <vector>

// What a domain's XML says about its disks and UEFI variables, and the few changes that are made
// to it in place. Pure text in, text out. Format: https://libvirt.org/formatdomain.html
namespace understudy::libvirt {

// The disks that travel (device='disk' and 'lun'; CD-ROM and floppy do not), with the sources of
// `current`: the live XML of a running domain, else its definition. `definition` is what it starts
// with next time. If the two disagree about a disk, the disk is unsupported, and the text says what
// to do. Sizes are 0.
Result<std::vector<ports::DiskDescription>> disks_in(const std::string& current,
                                                     const std::string& definition);

// The switches that change something. A disk whose layers the definition names is one of them. If a
// disk is on its source already, how it is reached (monitors, user, a configuration file) stays as
// the operator wrote it.
Result<std::vector<ports::DiskSwitch>> switches_left(
    const std::string& definition, const std::vector<ports::DiskSwitch>& switches);

// The definition with new disk sources; everything else stays as it is. invalid: no such disk.
// unsupported: a kind of source that is not known here.
Result<std::string> with_disk_sources(const std::string& definition,
                                      const std::vector<ports::DiskSwitch>& switches);

// The definition without the layers that libvirt has written below its travelling disks: their pool
// knows them, and on another host they are others.
Result<std::string> without_layers(const std::string& definition);

// The <domainsnapshot> that switches these disks, and no other, to external files. unsupported: a
// new source that is no file.
Result<std::string> snapshot_xml(const std::string& live,
                                 const std::vector<ports::DiskSwitch>& switches);

// One disk's files, from the one it writes to down to the bottom, as the live XML shows them.
// not_found: no such disk.
Result<std::vector<std::string>> chain_of(const std::string& live, const std::string& target);

// The active commit that runs on a disk, if any.
struct Mirror {
    std::string job;   // libvirt's word: "active-commit", "copy"
    std::string file;  // where it ends
    bool ready = false;
};
Result<std::optional<Mirror>> mirror_of(const std::string& live, const std::string& target);

// A UEFI guest keeps its variables in a file: the path, or an empty one when there is none yet.
struct Nvram {
    bool present = false;  // the guest has UEFI variables
    std::string path;
    std::string unsupported;  // why they cannot be read as a file
};
Result<Nvram> nvram_of(const std::string& xml);

// A guest agent is connected in the live XML.
Result<bool> agent_connected(const std::string& live);

}  // namespace understudy::libvirt
