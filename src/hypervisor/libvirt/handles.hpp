#pragma once

#include <libvirt/libvirt.h>

#include <cstdlib>
#include <memory>

namespace understudy::libvirt {

// Owners of libvirt's counted references and malloc'ed strings.
struct Release {
    void operator()(virConnectPtr connection) const { virConnectClose(connection); }
    void operator()(virDomainPtr domain) const { virDomainFree(domain); }
    void operator()(virNetworkPtr network) const { virNetworkFree(network); }
    void operator()(virSecretPtr secret) const { virSecretFree(secret); }
    void operator()(virStreamPtr stream) const { virStreamFree(stream); }
    void operator()(virDomainSnapshotPtr snapshot) const { virDomainSnapshotFree(snapshot); }
    void operator()(char* text) const { std::free(text); }
};

using ConnectionHandle = std::unique_ptr<virConnect, Release>;
using DomainHandle = std::unique_ptr<virDomain, Release>;
using NetworkHandle = std::unique_ptr<virNetwork, Release>;
using SecretHandle = std::unique_ptr<virSecret, Release>;
using StreamHandle = std::unique_ptr<virStream, Release>;
using SnapshotHandle = std::unique_ptr<virDomainSnapshot, Release>;
using Text = std::unique_ptr<char, Release>;

}  // namespace understudy::libvirt
