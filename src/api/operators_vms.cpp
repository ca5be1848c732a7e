#include "api/operators_calls.hpp"
#include "api/views.hpp"
#include "tasks/ownership_news.hpp"

#include <fmt/format.h>

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr std::uint64_t kShutdownLimit = 120'000;

// A running task may be switching or merging the VM's layers.
Result<> check_idle(tasks::Site& site, const VmId& id) {
    auto active = site.catalog.tasks({id, true, 10});
    if (!active) return std::unexpected(std::move(active.error()));
    for (const auto& task : *active)
        if (task.state == model::TaskState::running && task.kind != "send")
            return fail(Error(ErrorKind::conflict, fmt::format("'{}' is running", task.title))
                            .advising(fmt::format("Wait for it: `understudy task watch {}`.",
                                                  task.id.text().substr(0, 8))));
    return {};
}

Result<Reply> change_state(const Asked& asked, const VmId& id) {
    auto& hypervisor = asked.site().hypervisor;
    const auto& verb = asked.path[2];
    if (verb == "start") {
        UNDERSTUDY_TRY(check_idle(asked.site(), id));
        UNDERSTUDY_TRY(tasks::check_start(asked.site(), id));
        UNDERSTUDY_TRY(hypervisor.start(id));
    } else if (verb == "shutdown") {
        auto limit = number_field(asked.body, "limit_ms", kShutdownLimit);
        if (!limit) return std::unexpected(std::move(limit.error()));
        UNDERSTUDY_TRY(
            hypervisor.shutdown(id, Duration(static_cast<std::int64_t>(*limit % 86'400'000))));
    } else {
        UNDERSTUDY_TRY(hypervisor.stop(id));
    }
    return reply_with("vm", vm_view(asked.site(), id));
}

Result<Reply> release(const Asked& asked, const VmId& id) {
    auto vm = asked.site().catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm)
        return fail(Error(ErrorKind::refused, "Understudy has nothing to do with this VM")
                        .advising("Nothing needs to be released."));
    return queue(asked.site(), "release", id, "release " + (*vm)->name, {{"vm", id.text()}});
}

Result<Reply> with_vm(const Asked& asked, Result<Reply> (*call)(const Asked&, const VmId&)) {
    auto id = find_vm(asked.site(), asked.path[1]);
    if (!id) return std::unexpected(std::move(id.error()));
    return call(asked, *id);
}

}  // namespace

Answer answer_vms(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "vms") return std::nullopt;
    if (asked.is("GET", 1)) return reply_with("vms", vm_views(asked.site()));
    if (asked.is("GET", 2))
        return with_vm(asked, [](const Asked& a, const VmId& id) {
            return reply_with("vm", vm_details(a.site(), id));
        });
    if (!asked.is("POST", 3)) return std::nullopt;
    const auto& verb = asked.path[2];
    if (verb == "start" || verb == "shutdown" || verb == "stop")
        return with_vm(asked, change_state);
    if (verb == "release") return with_vm(asked, release);
    return std::nullopt;
}

}  // namespace understudy::api
