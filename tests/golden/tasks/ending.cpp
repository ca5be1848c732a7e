#include "ending.hpp"

#include "model/json.hpp"
#include "storage/qcow2/image/layer_chain.hpp"
#include "tasks/queue/site.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

namespace understudy::golden {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What differs from run to run: ids, and the time in the names of snapshots that tasks take.
std::string without_ids(const std::string& text) {
    static const std::regex kId("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
    static const std::regex kTime("20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z");
    static const std::regex kShortId("([~-])[0-9a-f]{8}\\b");
    return std::regex_replace(
        std::regex_replace(std::regex_replace(text, kId, "ID"), kTime, "TIME"), kShortId, "$1ID");
}

// FNV-1a over words of 8 bytes.
template <class Read>
std::string digest(ByteSize size, Read read) {
    std::uint64_t hash = 0xcbf29ce484222325;
    std::vector<std::byte> bytes(size.count() + 7);
    if (auto done = read(std::span(bytes).first(size.count())); !done) return "unreadable";
    for (std::size_t at = 0; at < size.count(); at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, 8);
        hash = (hash ^ word) * 0x100000001b3;
    }
    return fmt::format("{:08x}/{}K", hash >> 32U, size.count() / 1024);
}

std::string content_of(Host& host, const model::Snapshot& snapshot) {
    std::string text;
    for (const auto& disk : snapshot.disks) {
        auto reader = host.pool().open_snapshot(disk.volume, snapshot.id);
        const auto held = reader ? digest((*reader)->size(),
                                          [&](std::span<std::byte> into) {
                                              return (*reader)->read(ByteOffset(0), into);
                                          })
                                 : std::string("gone");
        text += fmt::format(" {}={}", disk.target, held);
    }
    return text;
}

std::string head_of(const ports::DiskDescription& disk) {
    auto chain = qcow2::LayerChain::open(disk.source.location, disk.source.format);
    if (!chain) return "gone";
    return digest((*chain)->size(),
                  [&](std::span<std::byte> into) { return (*chain)->read(ByteOffset(0), into); });
}

std::string name_of(Stage& stage, const ClusterId& id) {
    auto* host = stage.find(id);
    return host == nullptr ? "?" : host->name();
}

void drop_volatile(json& told) {
    for (const char* key : {"bytes", "wire_bytes", "seconds", "rto_ms", "downtime_ms", "file_bytes",
                            "boot_ms", "ready_ms", "verify_wire_bytes", "repair_wire_bytes", "next",
                            "directory", "outcome", "checked", "changes", "files"})
        told.erase(key);
    for (auto& [key, value] : told.items())
        if (value.is_object()) drop_volatile(value);
}

// What a task that succeeded tells: the JSON that operators get. Figures that depend on how often
// it was cut off are left out.
std::string result_of(const model::Task& task) {
    auto told = json::parse(task.result, nullptr, false);
    if (!told.is_object() || task.state != model::TaskState::succeeded) return {};
    drop_volatile(told);
    told.erase("version");
    if (told.contains("snapshot") && told["snapshot"].is_object())
        told["snapshot"] = told["snapshot"].value("name", "?");
    return told.empty() ? std::string() : " " + told.dump();
}

class Ending {
public:
    Ending(Stage& stage, Host& host) : stage_(stage), host_(host) {}

    std::vector<std::string> lines(const std::set<TaskId>& ended) {
        tell_tasks(ended);
        for (const auto& vm : must(host_.catalog().vms())) tell_vm(vm);
        tell_machines();
        tell_files();
        tell_pool();
        for (const auto& transfer : must(host_.catalog().transfers()))
            left_over("transfer of " + transfer.request.snapshot.name);
        return std::move(lines_);
    }

private:
    template <class... Values>
    void say(fmt::format_string<Values...> text, Values&&... values) {
        lines_.push_back(
            without_ids(host_.name() + " " + fmt::format(text, std::forward<Values>(values)...)));
    }
    void left_over(const std::string& what) { say("left over: {}", what); }

    void tell_tasks(const std::set<TaskId>& ended) {
        auto tasks = must(host_.catalog().tasks({std::nullopt, false, 1000}));
        std::ranges::reverse(tasks);  // they come newest first
        for (const auto& task : tasks) {
            if (ended.contains(task.id)) continue;
            if (!task.ended_already()) left_over("task " + task.kind);
            say("task {} {}{}{}", task.kind, model::to_string(task.state),
                task.error_kind.empty() ? "" : " " + task.error_kind, result_of(task));
        }
    }

    void tell_vm(const model::Vm& vm) {
        const auto& own = vm.ownership;
        std::string disks;
        for (const auto& disk : vm.disks) disks += " " + disk.target;
        const auto snapshots = must(host_.catalog().snapshots(vm.id));
        const auto named = [&](const std::optional<SnapshotId>& id) -> std::string {
            if (!id) return "nothing";
            const auto at = std::ranges::find(snapshots, *id, &model::Snapshot::id);
            return at == snapshots.end() ? "?" : at->name;
        };
        say("vm {} {} {} of {}{}, head on {}:{}", vm.name, model::to_string(own.phase), own.epoch,
            name_of(stage_, own.owner), vm.autostart ? ", autostart" : "", named(vm.head_parent),
            disks);
        for (const auto& snapshot : snapshots)
            say("snapshot {}@{} {} {} of {} on {}:{}", vm.name, snapshot.name,
                model::to_string(snapshot.consistency), snapshot.epoch,
                name_of(stage_, snapshot.origin), named(snapshot.parent),
                content_of(host_, snapshot));
        for (const auto& hold : must(host_.catalog().holds(vm.id))) {
            const auto cluster = ClusterId::parse(hold.detail);
            say("hold {}@{} {} {}", vm.name, named(hold.snapshot), model::to_string(hold.kind),
                cluster ? name_of(stage_, *cluster) : hold.detail);
            if (hold.kind == model::HoldKind::transfer || hold.kind == model::HoldKind::drill)
                left_over("hold of " + named(hold.snapshot));
        }
        for (const auto& sent : must(host_.catalog().replications(vm.id)))
            say("sent {}@{} to {}", vm.name, named(sent.snapshot), name_of(stage_, sent.peer));
        for (const auto& proof : must(host_.catalog().verifications(vm.id)))
            say("verified {}@{} {}", vm.name, named(proof.snapshot),
                proof.equal ? "equal" : "differs");
        for (const auto& drill : must(host_.catalog().drills(vm.id)))
            say("drilled {}@{} {}", vm.name, drill.snapshot_name,
                drill.passed ? "passed" : "failed");
    }

    void tell_machines() {
        for (const auto& vm : must(host_.hypervisor().list())) {
            const auto described = must(host_.hypervisor().describe(vm.id));
            std::string disks;
            for (const auto& disk : described.disks)
                disks += fmt::format(" {}={}", disk.target, head_of(disk));
            constexpr const char* kStates[] = {"running", "paused", "stopped"};
            say("machine {} {}{}{}:{}", vm.name, kStates[static_cast<std::size_t>(vm.state)],
                vm.autostart ? ", autostart" : "", described.has_nvram ? ", nvram" : "", disks);
            if (host_.catalog().task(TaskId(vm.id.bytes()))) left_over("machine of a drill");
        }
        for (const auto& [path, bytes] : host_.hypervisor().nvram_files())
            say("nvram {} {}", path, bytes);
    }

    void tell_files() {
        std::set<std::string> names;
        for (const auto& entry : fs::recursive_directory_iterator(host_.directory() + "/files"))
            names.insert(fs::relative(entry.path(), host_.directory()).string());
        for (const auto& name : names) {
            say("file {}", name);
            if (name.find(".partial-") != std::string::npos) left_over(name);
        }
    }

    // Volumes that nothing names, snapshots that are not listed, layers that are not finished.
    void tell_pool() {
        std::map<VolumeId, std::set<SnapshotId>> wanted;
        for (const auto& vm : must(host_.catalog().vms())) {
            for (const auto& disk : vm.disks) wanted[disk.volume];
            for (const auto& snapshot : must(host_.catalog().snapshots(vm.id)))
                for (const auto& disk : snapshot.disks) wanted[disk.volume].insert(snapshot.id);
        }
        for (const auto& entry : fs::directory_iterator(host_.directory() + "/pool")) {
            const auto volume = VolumeId::parse(entry.path().filename().string());
            if (!entry.is_directory() || !volume) continue;
            const auto known = wanted.find(*volume);
            if (known == wanted.end()) {
                left_over("volume that nothing names");
                continue;
            }
            for (const auto& id : must(host_.pool().snapshots(*volume)))
                if (!known->second.contains(id)) left_over("snapshot that is not listed");
            std::ifstream file(entry.path() / "volume.json");
            for (const auto& layer : json::parse(file).at("layers")) {
                const auto role = layer.at("role").get<std::string>();
                if (role != "snapshot" && role != "head") left_over("layer: " + role);
            }
        }
    }

    Stage& stage_;
    Host& host_;
    std::vector<std::string> lines_;
};

}  // namespace

std::set<TaskId> unfinished_tasks(Host& host) {
    std::set<TaskId> active;
    for (const auto& task : must(host.catalog().tasks({std::nullopt, true, 1000})))
        active.insert(task.id);
    return active;
}

std::string describe_end(Stage& stage, const std::map<std::string, std::set<TaskId>>& ended) {
    std::string text;
    for (auto& host : stage.hosts())
        for (const auto& line : Ending(stage, *host).lines(ended.at(host->name())))
            text += line + "\n";
    return text;
}

int most_running(Stage& stage) {
    std::map<VmId, int> running;
    int most = 0;
    for (auto& host : stage.hosts())
        for (const auto& vm : must(host->hypervisor().list()))
            if (vm.state == ports::VmState::running) most = std::max(most, ++running[vm.id]);
    return most;
}

}  // namespace understudy::golden
