#include "daemon/autostart.hpp"

#include "tasks/disks/volumes.hpp"
#include "tasks/owners/ownership_news.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>

namespace understudy::daemon {
namespace {

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// Changes with every boot (random(4)); empty where the kernel has none.
std::string boot_id() {
    return first_line("/proc/sys/kernel/random/boot_id");
}

}  // namespace

Autostart::Autostart(tasks::Site& site, std::string done_file)
    : site_(site), done_file_(std::move(done_file)) {
    const auto boot = boot_id();
    done_ = !boot.empty() && first_line(done_file_) == boot;
}

Result<std::set<VmId>> Autostart::wanted() const {
    auto vms = site_.catalog.vms();
    if (!vms) return std::unexpected(std::move(vms.error()));
    std::set<VmId> ids;
    for (const auto& vm : *vms)
        if (vm.autostart && vm.ownership.phase == model::Phase::owned) ids.insert(vm.id);
    return ids;
}

void Autostart::say_once(const VmId& id, const std::string& text) {
    if (told_.insert(id).second) spdlog::warn("{}", text);
}

Result<Autostart::Turn> Autostart::consider(const VmId& id, const std::set<ClusterId>& answered) {
    auto vm = site_.catalog.find_vm(id);
    if (!vm) return std::unexpected(std::move(vm.error()));
    if (!*vm || (*vm)->ownership.phase != model::Phase::owned) return Turn::done;
    auto presence = tasks::presence_of(site_, id);
    if (!presence) return std::unexpected(std::move(presence.error()));
    if (*presence != tasks::Presence::stopped) return Turn::done;
    auto sent = site_.catalog.replications(id);
    if (!sent) return std::unexpected(std::move(sent.error()));
    for (const auto& replication : *sent) {
        if (answered.contains(replication.peer)) continue;
        say_once(id, fmt::format("VM '{}' waits with its autostart: '{}', which has a replica of "
                                 "it, does not answer; `understudy vm start` starts it all the "
                                 "same",
                                 (*vm)->name, tasks::cluster_name(site_, replication.peer)));
        return Turn::waits;
    }
    UNDERSTUDY_TRY(tasks::check_start(site_, id));
    UNDERSTUDY_TRY(site_.hypervisor.start(id));
    spdlog::info("VM '{}': started, as its autostart says", (*vm)->name);
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
    done_ = true;
    std::ofstream(done_file_, std::ios::trunc) << boot_id() << '\n';
}

}  // namespace understudy::daemon
