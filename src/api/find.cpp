#include "api/views.hpp"

#include "engine/lineage.hpp"
#include "tasks/disks/volumes.hpp"
#include "tasks/drills/drilling.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

// What an operator's word names: a peer, VM, replica, snapshot or task, by name, by UUID or, for a
// task, by the first digits of its id (at least 4, among the newest 1000 tasks). Copies that drills
// run are no VMs here. If nothing fits, or several things do, the error lists what there is or says
// how to list it. Reads the catalog and libvirt; changes nothing.

namespace understudy::api {
namespace {

constexpr std::size_t kLongestVmName = 128;

}  // namespace

Result<model::Peer> find_peer(tasks::Site& site, const std::string& word) {
    auto peers = UNDERSTUDY_VALUE(site.catalog.peers());
    if (word.empty() && peers.size() == 1) return peers.front();
    std::string known;
    for (auto& peer : peers) {
        if (peer.name == word || peer.id.text() == word) return std::move(peer);
        known += (known.empty() ? "" : ", ") + peer.name;
    }
    if (word.empty() && !peers.empty())
        return fail(Error(ErrorKind::invalid, "there are several peers")
                        .advising(fmt::format("Name one of them: {}.", known)));
    if (peers.empty())
        return fail(Error(ErrorKind::not_found, "this cluster has no peers")
                        .advising("Pair with one: `understudy peer invite` there, "
                                  "`understudy peer join` here."));
    return fail(Error(ErrorKind::not_found, fmt::format("no peer '{}'", word.substr(0, 128)))
                    .advising(fmt::format("The peers are: {}.", known)));
}

namespace {

Result<VmId> the_only(const std::set<VmId>& found, const std::string& word) {
    if (found.size() == 1) return *found.begin();
    if (found.empty())
        return fail(Error(ErrorKind::not_found, fmt::format("no VM '{}'", word.substr(0, 128)))
                        .advising("`understudy vm list` and `understudy replica list` show them."));
    std::string ids;
    for (const auto& id : found) ids += (ids.empty() ? "" : ", ") + id.text();
    return fail(Error(ErrorKind::invalid, fmt::format("{} VMs are called '{}'", found.size(), word))
                    .advising(fmt::format("Name the one you mean by its id: {}.", ids)));
}

}  // namespace

Result<VmId> find_vm(tasks::Site& site, const std::string& word) {
    auto known = UNDERSTUDY_VALUE(site.catalog.vms());
    auto listed = UNDERSTUDY_VALUE(site.hypervisor.list());
    auto copies = UNDERSTUDY_VALUE(tasks::rehearsals(site));
    std::erase_if(listed, [&](const auto& vm) { return copies.contains(vm.id); });
    std::set<VmId> named;
    for (const auto& vm : known) {
        if (vm.id.text() == word) return vm.id;
        if (vm.name == word) named.insert(vm.id);
    }
    for (const auto& vm : listed) {
        if (vm.id.text() == word) return vm.id;
        if (vm.name == word) named.insert(vm.id);
    }
    return the_only(named, word);
}

Result<model::Vm> kept_replica(tasks::Site& site, const std::string& word,
                               const std::string& advice) {
    auto id = UNDERSTUDY_VALUE(find_replica(site, word));
    auto vm = UNDERSTUDY_VALUE(site.catalog.find_vm(id));
    if (vm && vm->ownership.phase == model::Phase::replica) return std::move(*vm);
    return fail(Error(ErrorKind::refused, fmt::format("'{}' is not a replica here", word))
                    .advising(advice));
}

Result<VmId> find_replica(tasks::Site& site, const std::string& word) {
    auto known = UNDERSTUDY_VALUE(site.catalog.vms());
    std::set<VmId> named;
    for (const auto& vm : known) {
        if (vm.ownership.phase != model::Phase::replica) continue;
        if (vm.id.text() == word) return vm.id;
        if (vm.name == word) named.insert(vm.id);
    }
    // If no replica has the name, any VM that has it is given; the caller says it is no replica.
    return named.empty() ? find_vm(site, word) : the_only(named, word);
}

Result<model::Snapshot> find_snapshot(tasks::Site& site, const VmId& vm, const std::string& word) {
    auto snapshots = UNDERSTUDY_VALUE(site.catalog.snapshots(vm));
    return engine::find_snapshot(snapshots, word);
}

Result<model::Snapshot> find_point(tasks::Site& site, const model::Vm& replica,
                                   const std::string& word) {
    if (!word.empty() && word != "@newest") return find_snapshot(site, replica.id, word);
    auto newest = UNDERSTUDY_VALUE(tasks::newest_point(site, replica));
    if (newest) return std::move(*newest);
    return find_snapshot(site, replica.id, word);
}

Result<> check_new_name(tasks::Site& site, const std::string& name) {
    const bool printable = std::ranges::all_of(
        name, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
    if (name.size() > kLongestVmName || !printable || name.find('/') != name.npos ||
        name.front() == '.')
        return fail(ErrorKind::invalid,
                    "a VM's name has 1 to 128 bytes, no '/', no control characters, and does not "
                    "begin with '.'");
    auto vms = UNDERSTUDY_VALUE(site.catalog.vms());
    for (const auto& vm : vms)
        if (vm.name == name)
            return fail(Error(ErrorKind::conflict, fmt::format("a VM '{}' is here already", name))
                            .advising("Choose another name."));
    return {};
}

Result<model::Task> find_task(tasks::Site& site, const std::string& word) {
    if (auto id = TaskId::parse(word)) return site.catalog.task(*id);
    const auto unknown = [&] {
        return fail(Error(ErrorKind::not_found, fmt::format("no task '{}'", word.substr(0, 64)))
                        .advising("`understudy task list --all` shows them."));
    };
    if (word.size() < 4) return unknown();
    auto tasks = UNDERSTUDY_VALUE(site.catalog.tasks({.limit = 1000}));
    const model::Task* found = nullptr;
    for (const auto& task : tasks) {
        if (!task.id.text().starts_with(word)) continue;
        if (found != nullptr)
            return fail(ErrorKind::invalid,
                        fmt::format("the ids of several tasks begin with '{}'", word));
        found = &task;
    }
    if (found == nullptr) return unknown();
    return *found;
}

}  // namespace understudy::api
