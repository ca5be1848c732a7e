#include "daemon/autostart.hpp"

#include "tasks/disks/volumes.hpp"
#include "tasks/owners/ownership_news.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace understudy::daemon {

Autostart::Autostart(tasks::Site& site, std::string done_file)
    : site_(site), mark_(std::move(done_file), this_boot()), done_(mark_.is_set()) {}

Result<std::set<VmId>> Autostart::wanted() const {
    auto vms = UNDERSTUDY_VALUE(site_.catalog.vms());
    std::set<VmId> ids;
    for (const auto& vm : vms)
        if (vm.autostart && vm.ownership.phase == model::Phase::owned) ids.insert(vm.id);
    return ids;
}

void Autostart::say_once(const VmId& id, const std::string& text) {
    if (told_.insert(id).second) spdlog::warn("{}", text);
}

Result<Autostart::Turn> Autostart::consider(const VmId& id, const std::set<ClusterId>& answered) {
    auto vm = UNDERSTUDY_VALUE(site_.catalog.find_vm(id));
    if (!vm || vm->ownership.phase != model::Phase::owned) return Turn::done;
    auto presence = UNDERSTUDY_VALUE(tasks::presence_of(site_, id));
    if (presence != tasks::Presence::stopped) return Turn::done;
    auto sent = UNDERSTUDY_VALUE(site_.catalog.replications(id));
    for (const auto& replication : sent) {
        if (answered.contains(replication.peer)) continue;
        say_once(id, fmt::format("VM '{}' waits with its autostart: '{}', which has a replica of "
                                 "it, does not answer; `understudy vm start` starts it all the "
                                 "same",
                                 vm->name, tasks::cluster_name(site_, replication.peer)));
        return Turn::waits;
    }
    UNDERSTUDY_TRY(tasks::check_start(site_, id));
    UNDERSTUDY_TRY(site_.hypervisor.start(id));
    spdlog::info("VM '{}': started, as its autostart says", vm->name);
    return Turn::done;
}

void Autostart::round(const std::set<ClusterId>& answered) {
    if (done_) return;
    if (!looked_) {
        auto ids = wanted();
        if (!ids) {
            spdlog::error("autostart: {}", ids.error().text());
            return;
        }
        waiting_ = std::move(*ids);
        looked_ = true;
    }
    std::erase_if(waiting_, [&](const VmId& id) {
        auto turn = consider(id, answered);
        if (!turn) say_once(id, fmt::format("autostart of {}: {}", id.text(), turn.error().text()));
        return turn && *turn == Turn::done;
    });
    if (!waiting_.empty()) return;
    // Without the mark, the next daemon in this boot would start VMs that were shut down since.
    auto marked = mark_.set();
    if (!marked && !mark_failed_) spdlog::error("autostart: {}", marked.error().text());
    mark_failed_ = !marked;
    done_ = marked.has_value();
}

}  // namespace understudy::daemon
