#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/virterror.h>

#include <string>

namespace understudy::libvirt {

ErrorKind kind_of(int code, int system_errno, std::string_view message) {
    if (message.find("No space left on device") != std::string_view::npos)
        return ErrorKind::no_space;
    switch (code) {
        case VIR_ERR_NO_DOMAIN:
        case VIR_ERR_NO_NETWORK: return ErrorKind::not_found;
        case VIR_ERR_INVALID_ARG:
        case VIR_ERR_XML_ERROR:
        case VIR_ERR_XML_DETAIL:
        case VIR_ERR_XML_INVALID_SCHEMA:
        case VIR_ERR_PARSE_FAILED:
        case VIR_ERR_CONF_SYNTAX:
        case VIR_ERR_OPERATION_DENIED:
        case VIR_ERR_ACCESS_DENIED:
        case VIR_ERR_AUTH_FAILED:
        case VIR_ERR_AUTH_UNAVAILABLE:
        case VIR_ERR_AUTH_CANCELLED: return ErrorKind::invalid;
        case VIR_ERR_NO_SUPPORT:
        case VIR_ERR_OS_TYPE:
        case VIR_ERR_CONFIG_UNSUPPORTED:
        case VIR_ERR_ARGUMENT_UNSUPPORTED:
        case VIR_ERR_OPERATION_UNSUPPORTED:
        case VIR_ERR_CPU_INCOMPATIBLE: return ErrorKind::unsupported;
        case VIR_ERR_OPERATION_INVALID:
        case VIR_ERR_DOM_EXIST:
        case VIR_ERR_BLOCK_COPY_ACTIVE:
        case VIR_ERR_RESOURCE_BUSY:
        case VIR_ERR_OPERATION_ABORTED: return ErrorKind::conflict;
        case VIR_ERR_HOOK_SCRIPT_FAILED: return ErrorKind::refused;
        case VIR_ERR_SYSTEM_ERROR: return errno_error(system_errno, "").kind();
        // What QEMU or libvirt itself could not do is not Understudy's defect.
        default: return ErrorKind::unavailable;
    }
}

Error last_error(virConnectPtr connection, std::string_view what) {
    const virErrorPtr error = virGetLastError();
    const std::string message =
        error != nullptr && error->message != nullptr ? error->message : "unknown libvirt error";
    const auto code = error != nullptr ? error->code : static_cast<int>(VIR_ERR_INTERNAL_ERROR);
    auto kind = kind_of(code, error != nullptr ? error->int1 : 0, message);
    virResetLastError();
    if (connection != nullptr && virConnectIsAlive(connection) != 1) {
        virResetLastError();
        return Error(ErrorKind::unavailable, fmt::format("{}: {}", what, message))
            .advising("libvirt is gone; see `systemctl status libvirtd` (or virtqemud)");
    }
    return Error(kind, fmt::format("{}: {}", what, message));
}

}  // namespace understudy::libvirt
