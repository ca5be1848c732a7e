#pragma once

#include "ports/storage.hpp"

#include <pugixml.hpp>
#include <string>

// The <source> of a disk, read and written: files, and RBD images (`type='network'`,
// `protocol='rbd'`). Format: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
namespace understudy::libvirt {

// What a disk (or a layer below it) stands on: a path, or what libvirt calls the image ("POOL/…").
// Empty for any other kind.
std::string location_of(pugi::xml_node disk);
std::string format_of(pugi::xml_node disk);
ports::DiskSource source_of(pugi::xml_node disk);

// The reason why a disk cannot be snapshotted and sent, in itself; empty: it can.
std::string why_unsupported(pugi::xml_node disk);

// Puts the disk onto another source and leaves nothing of the one that it had. unsupported: a kind
// of source that is not known here.
Result<> put_source(pugi::xml_node disk, const ports::DiskSource& source);

// The <secret>s by which a disk authenticates itself to Ceph.
bool is_ceph_login(pugi::xml_node secret);

}  // namespace understudy::libvirt
