#include "hypervisor/libvirt/lifecycle.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <string_view>
#include <thread>

// A domain's life: start, shutdown, stop, pause, resume, other disks, definition. The calls that
// change its state first look at it and are done if it is as wanted, so they can be repeated after
// a crash. If a start, shutdown or stop fails, the state is looked at once more: somebody else may
// have done it. shutdown() waits at most its limit, pause() at most kPauseLimit. Saved memory
// (`virsh managedsave`) belongs to the present disks, so it forbids other disks and another
// definition. Nothing is kept.

namespace understudy::libvirt {
namespace {

using ports::VmState;

constexpr std::chrono::milliseconds kPoll{50};

std::unexpected<Error> failed(virDomainPtr domain, std::string_view what) {
    return fail(domain_error(domain, what));
}

Result<VmState> state_of(virDomainPtr domain) {
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(domain, &state, nullptr, 0) < 0) {
        auto error = domain_error(domain, "look at");
        // A domain without a definition is gone when it stops.
        if (error.kind() == ErrorKind::not_found) return VmState::stopped;
        return fail(std::move(error));
    }
    switch (state) {
        case VIR_DOMAIN_SHUTOFF:
        case VIR_DOMAIN_CRASHED: return VmState::stopped;
        case VIR_DOMAIN_PAUSED:
        case VIR_DOMAIN_PMSUSPENDED: return VmState::paused;
        default: return VmState::running;
    }
}

Result<> refuse_saved_image(virDomainPtr domain, std::string_view what) {
    const int saved = virDomainHasManagedSaveImage(domain, 0);
    if (saved < 0) return failed(domain, "look for a saved image of");
    if (saved == 0) return {};
    return fail(Error(ErrorKind::conflict,
                      fmt::format("{} has saved memory that belongs to its present disks; it "
                                  "cannot {} now",
                                  label(domain), what))
                    .advising("Start it (`virsh start`) and shut it down, or drop the memory with "
                              "`virsh managedsave-remove`."));
}

// A definition as libvirt has it, and those of the wanted disks that it is not on yet.
struct DisksLeft {
    std::string definition;
    std::vector<ports::DiskSwitch> switches;
};

Result<DisksLeft> disks_left(virDomainPtr domain, const std::vector<ports::DiskSwitch>& wanted) {
    auto definition =
        UNDERSTUDY_VALUE(domain_xml(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE));
    auto left = UNDERSTUDY_VALUE(switches_left(definition, wanted));
    return DisksLeft{std::move(definition), std::move(left)};
}

Result<> define_left(virDomainPtr domain, const DisksLeft& left) {
    if (left.switches.empty()) return {};
    auto changed = UNDERSTUDY_VALUE(with_disk_sources(left.definition, left.switches));
    const DomainHandle defined(
        virDomainDefineXMLFlags(virDomainGetConnect(domain), changed.c_str(), 0));
    if (!defined) return failed(domain, "change the disks of");
    return {};
}

}  // namespace

Result<ports::VmSummary> summary_of(virDomainPtr domain) {
    ports::VmSummary summary;
    base::UuidBytes id{};
    if (virDomainGetUUID(domain, id.data()) < 0) return failed(domain, "read the UUID of");
    summary.id = VmId(id);
    if (const char* name = virDomainGetName(domain)) summary.name = name;
    auto state = UNDERSTUDY_VALUE(state_of(domain));
    summary.state = state;
    int autostart = 0;
    if (virDomainGetAutostart(domain, &autostart) < 0)
        virResetLastError();  // a transient VM has none
    summary.autostart = autostart != 0;
    return summary;
}

Result<> start(virDomainPtr domain) {
    auto state = state_of(domain);
    if (!state) return error_of(state);
    if (*state == VmState::running) return {};
    if (*state == VmState::paused)
        return fail(
            Error(ErrorKind::conflict, label(domain) + " is paused, not stopped")
                .advising("Find out who paused it, or which disk is full, before `virsh resume`."));
    if (virDomainCreate(domain) == 0) return {};
    auto error = domain_error(domain, "start");
    // Somebody else may have started it at the same moment.
    if (state = state_of(domain); state && *state == VmState::running) return {};
    return fail(std::move(error));
}

Result<> shutdown(virDomainPtr domain, Duration limit) {
    auto state = state_of(domain);
    if (!state) return error_of(state);
    if (*state == VmState::stopped) return {};
    if (*state == VmState::paused)
        return fail(Error(ErrorKind::conflict,
                          label(domain) + " is paused and cannot hear that it shall shut down")
                        .advising("Resume it with `virsh resume`, or use `understudy vm stop`."));
    // No flags: through the guest agent when it is connected, else by ACPI.
    if (virDomainShutdownFlags(domain, 0) < 0) {
        auto error = domain_error(domain, "shut down");
        if (state = state_of(domain); state && *state == VmState::stopped) return {};
        return fail(std::move(error));
    }
    const auto until = std::chrono::steady_clock::now() + limit;
    while (true) {
        state = state_of(domain);
        if (!state) return error_of(state);
        if (*state == VmState::stopped) return {};
        if (std::chrono::steady_clock::now() >= until)
            return fail(
                Error(ErrorKind::unavailable,
                      fmt::format("{} did not shut down within {}", label(domain),
                                  base::format_duration(limit)))
                    .advising(
                        "Look at its console, or stop it at once with `understudy vm stop`."));
        std::this_thread::sleep_for(kPoll);
    }
}

Result<> stop(virDomainPtr domain) {
    auto state = state_of(domain);
    if (!state) return error_of(state);
    if (*state == VmState::stopped || virDomainDestroy(domain) == 0) return {};
    auto error = domain_error(domain, "stop");
    // libvirt complains if the VM ends by itself meanwhile (or libvirt, on reconnecting, has ended
    // it).
    if (state = state_of(domain); state && *state == VmState::stopped) return {};
    return fail(std::move(error));
}

Result<> pause(Pauses& pauses, virDomainPtr domain) {
    UNDERSTUDY_TRY(pauses.set_late_action(domain, Pauses::Late::stay_paused));
    auto state = UNDERSTUDY_VALUE(state_of(domain));
    if (state == VmState::paused) return {};
    if (state == VmState::stopped)
        return fail(ErrorKind::conflict, label(domain) + " is stopped, not running");
    return pauses.pause(domain, kPauseLimit, Pauses::Late::stay_paused);
}

Result<> resume(Pauses& pauses, virDomainPtr domain) {
    UNDERSTUDY_TRY(pauses.set_late_action(domain, Pauses::Late::go_on));
    auto state = UNDERSTUDY_VALUE(state_of(domain));
    if (state == VmState::running) return {};
    if (state == VmState::stopped)
        return fail(ErrorKind::conflict, label(domain) + " is stopped, not paused");
    if (virDomainResume(domain) < 0) return failed(domain, "resume");
    return {};
}

Result<> set_disks(virDomainPtr domain, const std::vector<ports::DiskSwitch>& switches) {
    auto state = UNDERSTUDY_VALUE(state_of(domain));
    if (state != VmState::stopped)
        return fail(ErrorKind::conflict, label(domain) + " is running; its disks are in use");
    const auto left = UNDERSTUDY_VALUE(disks_left(domain, switches));
    if (left.switches.empty()) return {};
    UNDERSTUDY_TRY(refuse_saved_image(domain, "get other disks"));
    return define_left(domain, left);
}

Result<> define_disks(virDomainPtr domain, const std::vector<ports::DiskSwitch>& switches) {
    const auto left = UNDERSTUDY_VALUE(disks_left(domain, switches));
    return define_left(domain, left);
}

Result<> define(virConnectPtr connection, const std::string& domain_xml) {
    auto document = UNDERSTUDY_VALUE(parse_domain(domain_xml));
    const auto name = text_of(document.child("domain").child("name"));
    const auto id = text_of(document.child("domain").child("uuid"));
    const DomainHandle same_name(virDomainLookupByName(connection, name.c_str()));
    if (same_name) {
        char other[VIR_UUID_STRING_BUFLEN] = {};
        virDomainGetUUIDString(same_name.get(), other);
        if (!id.empty() && id != other)
            return fail(
                Error(ErrorKind::conflict,
                      fmt::format("another VM here is already named '{}' (UUID {})", name, other))
                    .advising("Rename one of them (`virsh domrename`)."));
        UNDERSTUDY_TRY(refuse_saved_image(same_name.get(), "get another definition"));
    }
    virResetLastError();
    const DomainHandle defined(virDomainDefineXMLFlags(connection, domain_xml.c_str(), 0));
    if (!defined) return fail(last_error(connection, fmt::format("define VM '{}'", name)));
    return {};
}

Result<> undefine(virDomainPtr domain) {
    auto state = UNDERSTUDY_VALUE(state_of(domain));
    if (state != VmState::stopped)
        return fail(Error(ErrorKind::conflict, label(domain) + " is running")
                        .advising("Stop it first with `understudy vm shutdown`."));
    UNDERSTUDY_TRY(refuse_saved_image(domain, "be removed from libvirt"));
    if (virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0)
        return failed(domain, "undefine");
    return {};
}

}  // namespace understudy::libvirt
