#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/virterror.h>

#include <string>
#include <utility>

// What libvirt's errors mean here: a kind for each code, and the text with what was tried. The last
// error of a thread is taken once and then cleared. If the connection turns out to be dead, the
// kind is `unavailable`, whatever the code. Nothing is kept.

namespace understudy::libvirt {
namespace {

struct Failure {
    ErrorKind kind;
    std::string message;
};

Failure take_failure() {
    const virErrorPtr error = virGetLastError();
    if (error == nullptr || error->code == VIR_ERR_OK)
        return {ErrorKind::unavailable, "unknown libvirt error"};
    std::string message = error->message != nullptr ? error->message : "no message from libvirt";
    const auto kind = kind_of(error->code, error->int1, message);
    virResetLastError();
    return {kind, std::move(message)};
}

Error told(Failure failure, virConnectPtr connection, std::string_view what) {
    auto text = fmt::format("{}: {}", what, failure.message);
    if (connection == nullptr || virConnectIsAlive(connection) == 1)
        return Error(failure.kind, std::move(text));
    virResetLastError();
    return Error(ErrorKind::unavailable, std::move(text))
        .advising("libvirt is gone; see `systemctl status libvirtd` (or virtqemud).");
}

}  // namespace

ErrorKind kind_of(int code, int system_errno, std::string_view message) {
    if (message.find("No space left on device") != std::string_view::npos)
        return ErrorKind::no_space;
    switch (code) {
        case VIR_ERR_NO_DOMAIN:
        case VIR_ERR_NO_SECRET:
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
        case VIR_ERR_NO_CONNECT:
        case VIR_ERR_INVALID_CONN:
        case VIR_ERR_RPC:
        case VIR_ERR_NO_MEMORY:
        case VIR_ERR_OPERATION_TIMEOUT:
        case VIR_ERR_AGENT_UNRESPONSIVE:
        case VIR_ERR_AGENT_UNSYNCED: return ErrorKind::unavailable;
        // QEMU or libvirt could not do it. If they were asked again soon, they would answer the
        // same.
        default: return ErrorKind::internal;
    }
}

Error last_error(virConnectPtr connection, std::string_view what) {
    return told(take_failure(), connection, what);
}

Error domain_error(virDomainPtr domain, std::string_view what) {
    auto failure = take_failure();
    return told(std::move(failure), virDomainGetConnect(domain),
                fmt::format("{} {}", what, label(domain)));
}

std::string label(virDomainPtr domain) {
    const char* name = virDomainGetName(domain);
    return fmt::format("VM '{}'", name != nullptr ? name : "?");
}

}  // namespace understudy::libvirt
