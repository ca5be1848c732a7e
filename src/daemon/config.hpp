#pragma once

#include "base/error.hpp"
#include "base/units.hpp"
#include "tasks/queue/site.hpp"

#include <string>
#include <variant>
#include <vector>

namespace understudy::daemon {

struct Qcow2PoolConfig {
    std::string path;
    std::string full_format = "qcow2";  // of disks received whole: "qcow2" or "raw"
    bool operator==(const Qcow2PoolConfig&) const = default;
};

struct RbdPoolConfig {
    std::string ceph_conf = "/etc/ceph/ceph.conf";
    std::string user = "admin";  // of cephx
    std::string keyring;         // empty: where ceph.conf says
    std::string pool;            // Ceph's name for it
    std::string rbd_namespace;   // empty: none
    std::string data_pool;       // of new images' data; empty: the pool itself
    std::string secret;          // UUID of libvirt's secret with the user's key; empty: no cephx
    ByteSize object_size = base::MiB(4);
    Duration timeout{30'000};  // Ceph answers within that, or an operation fails
    bool operator==(const RbdPoolConfig&) const = default;
};

struct PoolConfig {
    std::string name;
    std::variant<Qcow2PoolConfig, RbdPoolConfig> settings;
};

// understudyd.toml. Every field has a default that works on one machine, without a file.
struct Config {
    std::string state_dir = "/var/lib/understudy";
    std::string socket = "/run/understudy/understudy.sock";
    unsigned socket_mode = 0660;
    std::string node;  // default: the host's name
    std::string listen_peers = "0.0.0.0:7373";
    std::string advertise;   // host:port as peers reach us; default: host name and port
    std::string listen_api;  // "0.0.0.0:7370"; empty: no HTTPS API
    std::string hypervisor = "qemu:///system";
    std::size_t workers = 4;
    std::size_t channels = 2;
    Duration contact_every{30'000};
    Duration checkpoint_every{2000};
    Duration link_patience{60'000};
    bool accept_handovers = true;  // of VMs that a peer moves here
    ByteSize checkpoint_bytes = base::MiB(256);
    Duration verify_every{0};  // how often each replica is compared; 0: only when asked for
    tasks::DrillSettings drill;
    tasks::RecoverySettings recovery;
    std::vector<PoolConfig> pools;  // default: one, "default", in STATE_DIR/pool
};

// An empty path gives the defaults. invalid: the text names the file, the line or field, and what
// is expected there. An unknown field is an error, so that a misspelt one is not ignored.
Result<Config> load_config(const std::string& path);

}  // namespace understudy::daemon
