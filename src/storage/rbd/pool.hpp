#pragma once

#include "ports/storage.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace understudy::rbd {

struct RbdSettings {
    std::string ceph_conf = {};           // empty: /etc/ceph/ceph.conf
    std::string user = "admin";           // of cephx, without "client."
    std::string keyring = {};             // empty: where ceph_conf says
    std::string pool = {};                // of Ceph
    std::string rbd_namespace = {};       // must exist; empty: none
    std::string data_pool = {};           // for the data of images made here; empty: in `pool`
    ByteSize object_size = base::MiB(4);  // of images made here; a power of two, 4 KiB to 32 MiB
    // The features of images made here, by rbd's names. layering and deep-flatten are always added.
    std::string features = "layering,exclusive-lock,object-map,fast-diff,deep-flatten";
    // UUID of libvirt's secret that holds the user's key; empty: VMs open their disks without one.
    std::string secret = {};
    // An operation that Ceph does not answer is given up after this time.
    std::chrono::seconds timeout{30};
};

// A pool of images in Ceph. Connects when it is first used, and again after Ceph was away, so that
// it opens while Ceph is down. invalid: the settings; not_found: no ceph_conf.
Result<std::unique_ptr<ports::StoragePool>> open_rbd_pool(const std::string& name,
                                                          const RbdSettings& settings);

}  // namespace understudy::rbd
