#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "hypervisor/libvirt/handles.hpp"

#include <mutex>
#include <string>

namespace understudy::libvirt {

// One connection to libvirt, opened again after the daemon behind it was restarted. Thread-safe.
// With qemu:///embed?root=DIR this process is the QEMU driver: a process can have only one DIR, and
// only one process can have a DIR. The guests' QEMU processes outlive this process; the next one
// that opens the same DIR finds them again.
class Connection {
public:
    explicit Connection(std::string uri) : uri_(std::move(uri)) {}

    // A live connection (a counted reference); `unavailable` while libvirt does not answer.
    Result<ConnectionHandle> get();
    const std::string& uri() const { return uri_; }

private:
    const std::string uri_;
    std::mutex mutex_;
    ConnectionHandle connection_;
};

// DIR of qemu:///embed?root=DIR (percent-decoded); empty for other URIs.
std::string embed_root(const std::string& uri);

Result<DomainHandle> find_domain(virConnectPtr connection, const VmId& vm);
Result<std::string> domain_xml(virDomainPtr domain, unsigned flags);
// Running or paused.
Result<bool> is_active(virDomainPtr domain);

}  // namespace understudy::libvirt
