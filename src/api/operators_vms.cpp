#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/kinds.hpp"
#include "tasks/owners/ownership_news.hpp"
#include "tasks/records/snapshot_records.hpp"
#include "tasks/snapshots/snapshot_moment.hpp"

#include <fmt/format.h>

// Calls about VMs: list, details, start, shutdown, stop, release, and may-start for libvirt's hook.
// Start, shutdown and stop act within the request: nothing is queued, and a crash leaves the VM in
// the state that libvirt has brought it to. A shutdown waits at most 24 h, and ends early if the
// daemon stops. Only release is a task.

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr Duration kLookEvery{200};

// A replica is not defined in libvirt. That is no defect, so libvirt's own error would mislead.
Result<> check_defined(tasks::Site& site, const VmId& id) {
    auto presence = UNDERSTUDY_VALUE(tasks::presence_of(site, id));
    if (presence != tasks::Presence::undefined) return {};
    auto known = UNDERSTUDY_VALUE(site.catalog.vm(id));
    return fail(Error(ErrorKind::refused,
                      fmt::format("VM '{}' is not defined in libvirt here, so it does not run here",
                                  known.name))
                    .advising(fmt::format("It belongs to '{}'; `understudy replica list` shows the "
                                          "replicas here.",
                                          tasks::cluster_name(site, known.ownership.owner))));
}

// Asks the guest once, and waits here and not in the hypervisor, so that a daemon that is to stop
// does not wait for a guest.
Result<> shut_down(tasks::Site& site, const VmId& id, Duration limit) {
    auto& changed = site.bells->changed;  // closed when the daemon stops
    const auto until = site.clock.monotonic() + limit;
    auto asked = site.hypervisor.shutdown(id, Duration(0));
    if (asked || asked.error().kind() != ErrorKind::unavailable) return asked;
    while (site.clock.monotonic() < until) {
        changed.wait(changed.rung(), kLookEvery);
        if (changed.closed())
            return fail(Error(ErrorKind::cancelled, "understudyd is stopping")
                            .keeping("the guest, which was asked to shut down"));
        auto presence = UNDERSTUDY_VALUE(tasks::presence_of(site, id));
        if (presence != tasks::Presence::running) return {};
    }
    return fail(Error(ErrorKind::unavailable, fmt::format("the guest did not shut down within {}",
                                                          base::format_duration(limit)))
                    .advising("Look at its console, or stop it at once with `understudy vm "
                              "stop`."));
}

Result<Reply> change_state(const Asked& asked, const VmId& id) {
    auto& hypervisor = asked.site().hypervisor;
    const auto& verb = asked.path[2];
    if (verb == "start") {
        UNDERSTUDY_TRY(tasks::check_start(asked.site(), id));
        UNDERSTUDY_TRY(hypervisor.start(id));
    } else if (verb == "shutdown") {
        auto limit = UNDERSTUDY_VALUE(shutdown_limit(asked.body));
        UNDERSTUDY_TRY(check_defined(asked.site(), id));
        UNDERSTUDY_TRY(shut_down(asked.site(), id, limit));
    } else {
        UNDERSTUDY_TRY(check_defined(asked.site(), id));
        UNDERSTUDY_TRY(hypervisor.stop(id));
    }
    return reply_with("vm", vm_view(asked.site(), id));
}

Result<Reply> release(const Asked& asked, const VmId& id) {
    auto vm = UNDERSTUDY_VALUE(asked.site().catalog.find_vm(id));
    if (!vm)
        return fail(Error(ErrorKind::refused, "Understudy does not manage this VM")
                        .advising("Nothing needs to be released."));
    return queue(asked, tasks::kRelease, id, "release " + vm->name, tasks::ReleaseArguments{id});
}

// Takes a UUID only: a name would have to be looked up in libvirt, which does not answer during its
// hook. With `starting` what the peers claim is recorded; without, nothing changes.
Result<Reply> may_start(const Asked& asked, bool starting) {
    auto id = UNDERSTUDY_VALUE(VmId::parse(asked.path[1]));
    const auto check = starting ? tasks::refresh_owner_then_check : tasks::check_may_start;
    UNDERSTUDY_TRY(check(asked.site(), id));
    UNDERSTUDY_TRY(tasks::check_no_moment_is_open(asked.site(), id));
    return Reply{200, {{"vm", id.text()}, {"may_start", true}}};
}

Result<Reply> with_vm(const Asked& asked, Result<Reply> (*call)(const Asked&, const VmId&)) {
    auto id = UNDERSTUDY_VALUE(find_vm(asked.site(), asked.path[1]));
    return call(asked, id);
}

}  // namespace

Answer answer_vms(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "vms") return std::nullopt;
    if (asked.is("GET", 1)) return reply_with("vms", vm_views(asked.site()));
    if (asked.is("GET", 2))
        return with_vm(asked, [](const Asked& a, const VmId& id) {
            return reply_with("vm", vm_details(a.site(), id));
        });
    if (asked.is("GET", 3) && asked.path[2] == "may-start") return may_start(asked, false);
    if (!asked.is("POST", 3)) return std::nullopt;
    const auto& verb = asked.path[2];
    if (verb == "may-start") return may_start(asked, true);
    if (verb == "start" || verb == "shutdown" || verb == "stop")
        return with_vm(asked, change_state);
    if (verb == "release") return with_vm(asked, release);
    return std::nullopt;
}

}  // namespace understudy::api
