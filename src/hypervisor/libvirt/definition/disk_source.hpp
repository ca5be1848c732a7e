#pragma once

#include "ports/storage.hpp"

#include <pugixml.hpp>
#include <string>

// The <source> of a disk, read and written: files, and RBD images (`type='network'`,
// `protocol='rbd'`). Format: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
namespace understudy::libvirt {

// Where the content of a disk (or of a layer below it) is: a path, or libvirt's name of the image
// ("POOL/…"). Empty for any other kind.
std::string location_of(pugi::xml_node disk);
std::string format_of(pugi::xml_node disk);
ports::DiskSource source_of(pugi::xml_node disk);

// Why this disk by itself cannot be snapshotted and sent; empty: it can.
std::string why_unsupported(pugi::xml_node disk);

// Puts the disk onto another source and leaves nothing of the former one. unsupported: a kind of
// source that is not known here.
Result<> put_source(pugi::xml_node disk, const ports::DiskSource& source);

// Whether this <secret> is one by which a disk logs in to Ceph.
bool is_ceph_login(pugi::xml_node secret);

}  // namespace understudy::libvirt
