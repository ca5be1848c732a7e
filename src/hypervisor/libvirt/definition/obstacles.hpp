#pragma once

#include "base/error.hpp"
#include "model/vm.hpp"

#include <pugixml.hpp>
#include <set>
#include <string>
#include <vector>

// What a VM is besides its disks and cannot take along. The keys are a contract with operators:
// they accept an obstacle by it.
namespace understudy::libvirt {

// "pci:0000:03:00.0", "usb:046d:c52b", "scsi:…", "mdev:UUID" of a <hostdev> or <interface>.
std::string hostdev_address(pugi::xml_node device);

// The libvirt secrets (UUID or usage name) that a part of a definition refers to; CD-ROMs and
// floppies do not count, nor does what an RBD disk logs in to Ceph with.
std::set<std::string> secrets_in(pugi::xml_node node);

// The issues that this definition would have at any target. `blocks` ones are refused at send.
Result<std::vector<model::ReadinessIssue>> obstacles_in(const std::string& definition);

// A definition with secrets (VIR_DOMAIN_XML_SECURE) sets a password for graphics.
Result<bool> has_graphics_password(const std::string& secure_definition);

}  // namespace understudy::libvirt
