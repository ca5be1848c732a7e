#include "hypervisor/memory/definition.hpp"
#include "hypervisor/memory/hypervisor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

// The other half of MemoryHypervisor: definitions, UEFI variables, looks at a guest, what the host
// knows, and what the outside world does to it (an operator who plugs disks, a power loss). After
// power_loss() every VM is off and no guest is frozen; definitions and UEFI variables stay.
// Deterministic, one thread; all is in RAM.

namespace understudy::memory {

using ports::VmState;

void MemoryHypervisor::add(const VmId& vm, const std::string& name,
                           std::vector<ports::DiskDescription> disks, bool autostart) {
    Guest guest;
    guest.summary = {vm, name, VmState::stopped, autostart};
    guest.disks = std::move(disks);
    guests_[vm] = std::move(guest);
}

void MemoryHypervisor::set_disk_size(const VmId& vm, const std::string& target, ByteSize size) {
    for (auto& disk : guests_.at(vm).disks)
        if (disk.target == target) disk.size = size;
}

void MemoryHypervisor::plug(const VmId& vm, const ports::DiskDescription& disk) {
    guests_.at(vm).disks.push_back(disk);
}

void MemoryHypervisor::unplug(const VmId& vm, const std::string& target) {
    std::erase_if(guests_.at(vm).disks, [&](const auto& disk) { return disk.target == target; });
}

void MemoryHypervisor::set_obstacles(const VmId& vm, std::vector<model::ReadinessIssue> obstacles) {
    guests_.at(vm).obstacles = std::move(obstacles);
}

void MemoryHypervisor::set_capabilities(model::Capabilities capabilities) {
    capabilities_ = std::move(capabilities);
}

void MemoryHypervisor::set_adapt_issues(std::vector<model::ReadinessIssue> issues) {
    adapt_issues_ = std::move(issues);
}

void MemoryHypervisor::power_loss() {
    for (auto& [id, guest] : guests_) switch_off(guest);
    frozen_.clear();
}

bool MemoryHypervisor::runs(const VmId& vm) const {
    const auto at = guests_.find(vm);
    return at != guests_.end() && at->second.summary.state != VmState::stopped;
}

std::vector<ports::DiskDescription> MemoryHypervisor::disks(const VmId& vm) const {
    const auto at = guests_.find(vm);
    return at == guests_.end() ? std::vector<ports::DiskDescription>{} : at->second.disks;
}

std::vector<std::string> MemoryHypervisor::named_layers(const VmId& vm) const {
    std::vector<std::string> named;
    const auto at = guests_.find(vm);
    if (at == guests_.end()) return named;
    for (const auto& [target, layers] : at->second.layers)
        named.insert(named.end(), layers.begin(), layers.end());
    return named;
}

Result<> MemoryHypervisor::define(const std::string& domain_xml) {
    UNDERSTUDY_TRY(begin("define"));
    auto definition = UNDERSTUDY_VALUE(parse_definition(domain_xml));
    for (const auto& [id, other] : guests_)
        if (id != definition.id && other.summary.name == definition.name)
            return fail(ErrorKind::conflict,
                        fmt::format("another VM here is already named '{}'", definition.name));
    auto& guest = guests_[definition.id];
    if (guest.summary.state != VmState::stopped)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is running", guest.summary.name));
    guest.summary.id = definition.id;
    guest.summary.name = definition.name;
    guest.disks = std::move(definition.disks);
    guest.layers.clear();
    guest.networks = std::move(definition.networks);
    guest.nvram_path = std::move(definition.nvram_path);
    return end("define");
}

Result<> MemoryHypervisor::undefine(const VmId& vm) {
    UNDERSTUDY_TRY(begin("undefine"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    if (guest->summary.state != VmState::stopped)
        return fail(ErrorKind::conflict, fmt::format("VM '{}' is running", guest->summary.name));
    guests_.erase(vm);
    return end("undefine");
}

Result<> MemoryHypervisor::set_autostart(const VmId& vm, bool autostart) {
    UNDERSTUDY_TRY(begin("set_autostart"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    guest->summary.autostart = autostart;
    return end("set_autostart");
}

Result<std::string> MemoryHypervisor::read_nvram(const VmId& vm) {
    UNDERSTUDY_TRY(begin("read_nvram"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    const auto at = nvram_.find(guest->nvram_path);
    return at == nvram_.end() ? std::string{} : at->second;
}

Result<> MemoryHypervisor::write_nvram(const std::string& path, const std::string& bytes) {
    UNDERSTUDY_TRY(begin("write_nvram"));
    if (path.empty()) return fail(ErrorKind::invalid, "no path for UEFI variables");
    nvram_[path] = bytes;
    return end("write_nvram");
}

Result<> MemoryHypervisor::remove_nvram(const std::string& path) {
    UNDERSTUDY_TRY(begin("remove_nvram"));
    nvram_.erase(path);
    return end("remove_nvram");
}

Result<std::string> MemoryHypervisor::screenshot(const VmId& vm) {
    UNDERSTUDY_TRY(begin("screenshot"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    return "the screen of " + guest->summary.name;
}

Result<bool> MemoryHypervisor::agent_answers(const VmId& vm) {
    UNDERSTUDY_TRY(begin("agent_answers"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    return boots_ && guest->summary.state == VmState::running;
}

Result<bool> MemoryHypervisor::answers_on(const VmId& vm, const std::string&, std::uint16_t) {
    UNDERSTUDY_TRY(begin("answers_on"));
    auto guest = UNDERSTUDY_VALUE(find(vm));
    return boots_ && guest->summary.state == VmState::running;
}

Result<ByteSize> MemoryHypervisor::free_memory() {
    UNDERSTUDY_TRY(begin("free_memory"));
    return free_memory_;
}

Result<model::Capabilities> MemoryHypervisor::capabilities() {
    UNDERSTUDY_TRY(begin("capabilities"));
    return capabilities_;
}

Result<std::vector<ports::DiskDescription>> MemoryHypervisor::disks_of(const std::string& text) {
    auto definition = UNDERSTUDY_VALUE(parse_definition(text));
    return std::move(definition.disks);
}

Result<ports::Adapted> MemoryHypervisor::adapt(const ports::AdaptRequest& request) {
    UNDERSTUDY_TRY(begin("adapt"));
    auto definition = UNDERSTUDY_VALUE(parse_definition(request.domain_xml));
    ports::Adapted adapted;
    const bool at_home = request.from_here;
    if (!at_home) adapted.issues = adapt_issues_;
    std::set<std::string> given;
    for (const auto& change : request.disks) {
        const auto at =
            std::find_if(definition.disks.begin(), definition.disks.end(),
                         [&](const auto& disk) { return disk.target == change.target; });
        if (at == definition.disks.end())
            return fail(ErrorKind::invalid,
                        fmt::format("the VM's definition has no disk '{}'", change.target));
        at->source = change.source;
        given.insert(change.target);
        adapted.changes.push_back(
            fmt::format("disk {}: now {}", change.target, change.source.location));
    }
    for (const auto& disk : definition.disks)
        if (!given.contains(disk.target))
            adapted.issues.push_back({model::Severity::blocks, "disk:" + disk.target,
                                      "the disk did not travel with the VM"});
    std::erase_if(definition.disks, [&](const auto& disk) { return !given.contains(disk.target); });
    for (auto& network : definition.networks) {
        const auto mapped = request.networks.find(network);
        const auto there = network;
        if (mapped != request.networks.end()) network = mapped->second;
        const auto& here = capabilities_.networks;
        if (!at_home && !request.cut_off &&
            std::find(here.begin(), here.end(), network) == here.end())
            adapted.issues.push_back({model::Severity::blocks, "network:" + there,
                                      fmt::format("there is no network {} here", network)});
    }
    if (request.cut_off) definition.networks.clear();
    if (request.cut_off && !request.isolated_network.empty())
        definition.networks.push_back(request.isolated_network);
    adapted.has_agent = true;
    adapted.has_console = !request.console_log.empty();
    adapted.memory = base::MiB(128);
    if (!request.new_name.empty()) definition.name = request.new_name;
    if (request.new_id) definition.id = *request.new_id;
    for (const auto& [id, other] : guests_)
        if (id != definition.id && other.summary.name == definition.name)
            adapted.issues.push_back(
                {model::Severity::blocks, "name",
                 fmt::format("another VM here is named '{}'; rename one of them, accepting this "
                             "does not help",
                             definition.name)});
    if (!definition.nvram_path.empty()) {
        if (!at_home) definition.nvram_path = fmt::format("nvram/{}", definition.id.text());
        adapted.nvram_path = definition.nvram_path;
    }
    adapted.domain_xml = format_definition(definition);
    return adapted;
}

}  // namespace understudy::memory
