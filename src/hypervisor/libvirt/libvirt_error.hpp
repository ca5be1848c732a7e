#pragma once

#include "base/error.hpp"

#include <libvirt/libvirt.h>

#include <string_view>

namespace understudy::libvirt {

// The kind that a libvirt error code stands for; `system_errno` counts for VIR_ERR_SYSTEM_ERROR.
ErrorKind kind_of(int code, int system_errno, std::string_view message);

// This thread's last libvirt error as "WHAT: libvirt's message". A connection that turns out to be
// dead makes it `unavailable` whatever the code says.
Error last_error(virConnectPtr connection, std::string_view what);

}  // namespace understudy::libvirt
