#pragma once

#include "base/ids.hpp"
#include "base/units.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace understudy::model {

struct Cluster {
    ClusterId id;
    std::string name;
    bool operator==(const Cluster&) const = default;
};

struct PoolCapability {
    std::string name;
    std::string driver;
    ByteSize total;
    ByteSize free;
    bool operator==(const PoolCapability&) const = default;
};

// What a cluster is able to do; exchanged between peers and the input of readiness.
struct Capabilities {
    std::string version;                // of understudyd
    std::vector<std::string> features;  // of the wire, by name
    std::vector<PoolCapability> pools;
    std::vector<std::string> networks;  // libvirt networks, and bridges of the host
    std::vector<std::string> machines;  // QEMU machine types, canonical and aliases
    std::vector<std::string> cpu_models;
    std::string host_arch;
    bool uefi = false;
    bool tpm = false;
    bool kvm = false;
    bool operator==(const Capabilities&) const = default;
};

// Another cluster that this one is paired with.
struct Peer {
    ClusterId id;
    std::string name;
    std::string address;                          // host:port of its peers' listener
    std::string certificate_pem;                  // pinned at pairing
    std::string fingerprint;                      // SHA-256 of the certificate, lower-case hex
    std::map<std::string, std::string> networks;  // the peer's network → ours, for its replicas
    std::map<std::string, std::string> pools;     // the peer's pool → ours, for its replicas
    ByteSize rate_limit;                          // bytes per second to it; 0 = none
    std::optional<TimePoint> last_contact;
    Capabilities capabilities;  // as last exchanged
    bool operator==(const Peer&) const = default;
};

}  // namespace understudy::model
