#pragma once

#include "base/error.hpp"

#include <libvirt/libvirt.h>

#include <string>
#include <string_view>

namespace understudy::libvirt {

// The kind that a libvirt error code stands for; `system_errno` counts for VIR_ERR_SYSTEM_ERROR.
ErrorKind kind_of(int code, int system_errno, std::string_view message);

// This thread's last libvirt error as "WHAT: libvirt's message". If the connection turns out to be
// dead, it is `unavailable`, whatever the code says. Any call into libvirt clears the last error,
// so `what` must be made without one.
Error last_error(virConnectPtr connection, std::string_view what);

// The same about a domain, as "WHAT VM 'web1': libvirt's message".
Error domain_error(virDomainPtr domain, std::string_view what);

// "VM 'web1'": how messages name a domain.
std::string label(virDomainPtr domain);

}  // namespace understudy::libvirt
