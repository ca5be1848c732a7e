#pragma once

#include "base/error.hpp"
#include "model/vm.hpp"

#include <pugixml.hpp>
#include <set>
#include <string>
#include <vector>

// What belongs to a VM besides its disks and cannot travel with it. The keys are a contract with
// operators, who accept an obstacle by its key.
namespace understudy::libvirt {

// "pci:0000:03:00.0", "usb:046d:c52b", "scsi:…", "mdev:UUID" of a <hostdev> or <interface>.
std::string hostdev_address(pugi::xml_node device);

// The libvirt secrets (UUID or usage name) that a part of a definition refers to. Secrets of CD-ROM
// and floppy drives do not count, nor those with which an RBD disk logs in to Ceph.
std::set<std::string> secrets_in(pugi::xml_node node);

// The issues that this definition would have at any target. `blocks` ones are refused at send.
Result<std::vector<model::ReadinessIssue>> obstacles_in(const std::string& definition);

// Whether a definition with secrets (VIR_DOMAIN_XML_SECURE) sets a password for graphics.
Result<bool> has_graphics_password(const std::string& secure_definition);

}  // namespace understudy::libvirt
