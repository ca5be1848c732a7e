#include "hypervisor/libvirt/stray_layers.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/xml.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/lifecycle.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt-qemu.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

// Repairs a snapshot during which libvirt or this process ended. repair_interrupted_snapshot()
// lists QEMU's nodes and what libvirt knows. If libvirt has the VM on the overlays, only the
// definition is completed. Otherwise each overlay that QEMU runs on is committed to the disk that
// libvirt knows (a job in QEMU); with the VM paused, the jobs are completed, the nodes removed, and
// on_overlays_stale called. After a crash or an error the VM may be paused; the next call finds the
// jobs by their names and goes on. Each wait ends after 60 s.

namespace understudy::libvirt {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kPatience{60};

constexpr const char* kAdvice =
    "This is tried again, and the VM may stand still until then: do not resume it by hand. If it "
    "goes on, `understudy vm stop` stops the VM; what it wrote stays.";

// What QEMU answers to a command of its own protocol (QMP).
Result<json> qmp_command(virDomainPtr domain, const char* command,
                         const json& arguments = json::object()) {
    const json request{{"execute", command}, {"arguments", arguments}};
    char* text = nullptr;
    if (virDomainQemuMonitorCommand(domain, request.dump().c_str(), &text, 0) < 0)
        return fail(domain_error(domain, "ask QEMU about"));
    const Text owned(text);
    auto answer = json::parse(text, nullptr, false);
    if (answer.is_object() && answer.contains("return")) return answer["return"];
    std::string said = text;
    if (answer.is_object() && answer.contains("error")) said = answer["error"].value("desc", said);
    return fail(Error(ErrorKind::unavailable, fmt::format("QEMU to {}: {}", command, said))
                    .advising(kAdvice));
}

// A layer has two nodes. libvirt names them libvirt-N-storage and, above it, libvirt-N-format.
std::string format_node(unsigned number) {
    return fmt::format("libvirt-{}-format", number);
}
std::string storage_node(unsigned number) {
    return fmt::format("libvirt-{}-storage", number);
}

std::optional<unsigned> number_of_storage(const std::string& node) {
    constexpr std::string_view kHead = "libvirt-";
    unsigned number = 0;
    if (!node.starts_with(kHead)) return std::nullopt;
    const auto [end, error] =
        std::from_chars(node.data() + kHead.size(), node.data() + node.size(), number);
    if (error != std::errc{} || node != storage_node(number)) return std::nullopt;
    return number;
}

struct Nodes {
    std::map<unsigned, std::string> layers;  // by their number, the files that QEMU has open
    std::set<std::string> names;             // of all nodes
};

Result<Nodes> nodes_of(virDomainPtr domain) {
    auto listed =
        UNDERSTUDY_VALUE(qmp_command(domain, "query-named-block-nodes", {{"flat", true}}));
    Nodes nodes;
    for (const auto& node : listed) {
        const auto name = node.value("node-name", std::string());
        nodes.names.insert(name);
        if (const auto number = number_of_storage(name))
            nodes.layers[*number] = node.value("file", std::string());
    }
    return nodes;
}

// A disk as libvirt knows it.
struct Disk {
    std::string target;
    std::string alias;  // names its device in QEMU
    std::string file;   // the file that libvirt says the guest writes to
};

struct Known {
    std::vector<Disk> disks;
    std::set<std::string> files;  // of the disks, below them, and targets of copies
};

std::string file_of(pugi::xml_node source) {
    const auto file = attribute_of(source, "file");
    return file.empty() ? attribute_of(source, "dev") : file;
}

Result<Known> known_to_libvirt(virDomainPtr domain, unsigned flags = 0) {
    auto xml = UNDERSTUDY_VALUE(domain_xml(domain, flags));
    auto document = UNDERSTUDY_VALUE(parse_domain(xml));
    Known known;
    for (const auto disk : children_of(devices_of(document), "disk")) {
        known.disks.push_back({attribute_of(disk.child("target"), "dev"),
                               attribute_of(disk.child("alias"), "name"),
                               file_of(disk.child("source"))});
        for (const auto& found : disk.select_nodes(".//source"))
            known.files.insert(file_of(found.node()));
    }
    return known;
}

// The disk whose device is on this node; nothing: no device is.
Result<std::optional<Disk>> disk_on(virDomainPtr domain, const Known& known,
                                    const std::string& node) {
    auto devices = UNDERSTUDY_VALUE(qmp_command(domain, "query-block"));
    for (const auto& device : devices) {
        if (!device.contains("inserted") ||
            device["inserted"].value("node-name", std::string()) != node)
            continue;
        const auto path = "/" + device.value("qdev", std::string()) + "/";
        const auto disk = std::ranges::find_if(known.disks, [&](const Disk& candidate) {
            return path.find("/" + candidate.alias + "/") != std::string::npos;
        });
        if (disk != known.disks.end()) return *disk;
        return fail(Error(ErrorKind::unavailable,
                          fmt::format("QEMU runs {} on a layer that libvirt does not know, on a "
                                      "device that it does not know either: {}",
                                      label(domain), path))
                        .advising(kAdvice));
    }
    return std::nullopt;
}

Result<std::optional<std::string>> state_of_job(virDomainPtr domain, const std::string& id) {
    auto jobs = UNDERSTUDY_VALUE(qmp_command(domain, "query-jobs"));
    for (const auto& job : jobs)
        if (job.value("id", std::string()) == id) return job.value("status", std::string());
    return std::nullopt;
}

// A layer that libvirt does not know.
struct Stray {
    unsigned number = 0;
    std::string job;  // commits it; empty: no device is on the layer
};

std::string node_of_file(const Nodes& nodes, const std::string& file) {
    const auto at =
        std::ranges::find_if(nodes.layers, [&](const auto& layer) { return layer.second == file; });
    return at == nodes.layers.end() ? std::string() : format_node(at->first);
}

// Begins to commit the layer into the layer that the disk uses according to libvirt, unless an
// earlier call has begun that.
Result<Stray> begin(virDomainPtr domain, const Known& known, const Nodes& nodes, unsigned number) {
    auto disk = UNDERSTUDY_VALUE(disk_on(domain, known, format_node(number)));
    if (!disk) return Stray{number, {}};
    const auto own = node_of_file(nodes, disk->file);
    if (own.empty())
        return fail(Error(ErrorKind::unavailable,
                          fmt::format("QEMU runs {} of {} on {}, which libvirt does not know",
                                      disk->target, label(domain), nodes.layers.at(number)))
                        .advising(kAdvice));
    Stray stray{number, "understudy-" + disk->target};
    auto state = UNDERSTUDY_VALUE(state_of_job(domain, stray.job));
    if (state) return stray;
    auto begun = UNDERSTUDY_VALUE(
        qmp_command(domain, "block-commit",
                    {{"job-id", stray.job}, {"device", format_node(number)}, {"base-node", own}}));
    return stray;
}

// Waits until the job is in that state; empty: until it has gone.
Result<> await(virDomainPtr domain, const std::string& job, const std::string& wanted) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < until) {
        auto state = UNDERSTUDY_VALUE(state_of_job(domain, job));
        if (state.value_or("") == wanted) return {};
        if (!state)
            return fail(
                Error(ErrorKind::unavailable,
                      fmt::format("QEMU could not commit what {} wrote ({})", label(domain), job))
                    .advising("Is there room? The reason is in the VM's QEMU log "
                              "(/var/log/libvirt/qemu)."));
        std::this_thread::sleep_for(kPoll);
    }
    return fail(Error(ErrorKind::unavailable,
                      fmt::format("QEMU still commits what {} wrote ({})", label(domain), job))
                    .advising(kAdvice));
}

Result<> complete(virDomainPtr domain, const std::string& job) {
    auto asked = UNDERSTUDY_VALUE(qmp_command(domain, "job-complete", {{"id", job}}));
    return await(domain, job, {});
}

// QEMU refuses to remove a node that is in use.
Result<> remove(virDomainPtr domain, const Nodes& nodes, unsigned number) {
    for (const auto& node : {format_node(number), storage_node(number)}) {
        if (!nodes.names.contains(node)) continue;
        auto removed = UNDERSTUDY_VALUE(qmp_command(domain, "blockdev-del", {{"node-name", node}}));
    }
    return {};
}

Result<> remove_strays(virDomainPtr domain, const Nodes& nodes, const std::vector<Stray>& strays) {
    for (const auto& stray : strays)
        if (!stray.job.empty()) UNDERSTUDY_TRY(complete(domain, stray.job));
    for (const auto& stray : strays) UNDERSTUDY_TRY(remove(domain, nodes, stray.number));
    return {};
}

// The overlays that QEMU has and libvirt does not know. No other node is looked at: one that is not
// a file has no path that could be compared.
Result<std::vector<Stray>> find_strays(virDomainPtr domain, const Nodes& nodes,
                                       const std::vector<ports::DiskSwitch>& switches) {
    auto known = UNDERSTUDY_VALUE(known_to_libvirt(domain));
    std::vector<Stray> strays;
    for (const auto& [number, file] : nodes.layers) {
        const bool is_overlay = std::ranges::any_of(
            switches, [&](const auto& change) { return change.source.location == file; });
        if (!is_overlay || known.files.contains(file)) continue;
        auto stray = UNDERSTUDY_VALUE(begin(domain, known, nodes, number));
        strays.push_back(std::move(stray));
    }
    return strays;
}

Result<bool> is_on_overlays(virDomainPtr domain, const std::vector<ports::DiskSwitch>& switches) {
    auto known = UNDERSTUDY_VALUE(known_to_libvirt(domain));
    return std::ranges::any_of(switches, [&](const ports::DiskSwitch& change) {
        return std::ranges::any_of(known.disks, [&](const Disk& disk) {
            return disk.target == change.target && disk.file == change.source.location;
        });
    });
}

// libvirt writes the definition after its record of the running VM, so the definition may lack the
// switch. Disks that were unplugged since are in neither.
Result<> complete_definition(virDomainPtr domain, std::vector<ports::DiskSwitch> switches) {
    auto defined = UNDERSTUDY_VALUE(known_to_libvirt(domain, VIR_DOMAIN_XML_INACTIVE));
    std::erase_if(switches, [&](const ports::DiskSwitch& change) {
        return std::ranges::find(defined.disks, change.target, &Disk::target) ==
               defined.disks.end();
    });
    return define_disks(domain, switches);
}

}  // namespace

Result<> repair_interrupted_snapshot(Pauses& pauses, virDomainPtr domain,
                                     const std::vector<ports::DiskSwitch>& switches,
                                     const std::function<Result<>()>& on_overlays_stale) {
    auto active = UNDERSTUDY_VALUE(is_active(domain));
    if (!active) return fail(ErrorKind::unavailable, label(domain) + " is off by now");
    // QEMU is asked before libvirt. What libvirt adds in between is then not taken for a stray
    // layer.
    auto nodes = UNDERSTUDY_VALUE(nodes_of(domain));
    auto switched = UNDERSTUDY_VALUE(is_on_overlays(domain, switches));
    if (switched) return complete_definition(domain, switches);
    auto strays = UNDERSTUDY_VALUE(find_strays(domain, nodes, switches));
    bool in_use = false;
    for (const auto& stray : strays) {
        if (stray.job.empty()) continue;
        in_use = true;
        UNDERSTUDY_TRY(await(domain, stray.job, "ready"));
    }
    if (!in_use) {
        UNDERSTUDY_TRY(remove_strays(domain, nodes, strays));
        // If the VM stands still, an earlier call may have been cut off after remove_strays().
        auto now = UNDERSTUDY_VALUE(summary_of(domain));
        return now.state == ports::VmState::running ? Result<>{} : on_overlays_stale();
    }
    auto pause = UNDERSTUDY_VALUE(Pause::begin(pauses, domain));
    auto done = remove_strays(domain, nodes, strays);
    if (done) done = on_overlays_stale();
    if (!done) {
        // The VM may be off some overlays already, and nobody has noted that they hold old data.
        pause.leave();
        return done;
    }
    return pause.end();
}

}  // namespace understudy::libvirt
