#include "stage.hpp"

#include "link.hpp"
#include "protocol/features.hpp"
#include "storage/directories/posix_directories.hpp"
#include "storage/qcow2/disk_format.hpp"
#include "storage/qcow2/image/header.hpp"
#include "storage/qcow2/pool.hpp"
#include "storage/qcow2/qemu_img.hpp"
#include "tasks/kinds.hpp"
#include "tasks/owners/ownership_news.hpp"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

// Two whole clusters in one process: the files that a daemon of an earlier version left are opened
// by the code of today, daemons start on them and work until nothing is left to do.

namespace understudy::golden {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr Duration kUntilTakenUp = std::chrono::hours(1);  // every lease has lapsed
constexpr Duration kRound{400'000};                        // longer than the longest retry pause
constexpr int kMostRounds = 40;

tasks::SiteSettings settings_of(Stage& stage, Host& host) {
    tasks::SiteSettings settings;
    settings.default_pool = "vms";
    settings.threads = false;
    settings.handover_patience = Duration(60'000);
    settings.checkpoint_every = Duration(50);
    settings.checkpoint_bytes = base::KiB(64);
    const auto& watch = stage.watch();
    if (watch.at_point) settings.at_point = watch.at_point(host);
    if (watch.settings) watch.settings(settings);
    return settings;
}

// As QEMU does it: the content goes down, and what stood on `top` stands on `base`.
Result<> merge_files(const ports::LiveMerge& merge) {
    UNDERSTUDY_TRY(qcow2::commit_layer(merge.top, "qcow2", merge.base));
    if (merge.top_is_head) return {};
    for (const auto& entry : fs::directory_iterator(fs::path(merge.top).parent_path())) {
        if (entry.path().extension() != ".qcow2") continue;
        const auto info = must(qcow2::probe_image(entry.path().string(), "qcow2"));
        if (!info.backing || info.backing->path != merge.top) continue;
        UNDERSTUDY_TRY(qcow2::rebase_header(entry.path().string(), merge.base, "qcow2"));
    }
    return {};
}

memory::WorldHooks hooks() {
    memory::WorldHooks hooks;
    hooks.merge = merge_files;
    return hooks;
}

ClusterId cluster_id(const std::string& name) {
    return ClusterId(base::uuid_from_random(0xC1 + static_cast<unsigned char>(name[0]), 1));
}

constexpr const char* kStates[] = {"running", "paused", "stopped"};  // as ports::VmState

}  // namespace

std::uint64_t StageRandom::next() {
    auto mixed = (state_ += 0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
}

Daemon::Daemon(Stage& stage, Host& host)
    : links(make_links(stage, host)),
      site{host.identity(),
           settings_of(stage, host),
           host.daemons_catalog(),
           host.hypervisor(),
           *links,
           stage.clock(),
           stage.random(),
           {{"vms", host.shared_pool()}}},
      receiving(site),
      runner(site, tasks::all_kinds()) {
    site.directories = directories::posix_directories();
    site.formats["qcow2"] = qcow2::qcow2_format();
}

Host::Host(Stage& stage, const std::string& name, const std::string& directory)
    : stage_(stage),
      identity_{cluster_id(name), name},
      directory_(directory),
      hypervisor_(hooks()) {
    fs::create_directories(directory + "/files");
    catalog::CatalogSettings where;
    where.path = directory + "/catalog.db";
    catalog_ = must(catalog::open_catalog(where));
    if (stage.watch().catalog) watched_ = stage.watch().catalog(*this);
    pool_ = must(qcow2::open_qcow2_pool("vms", directory + "/pool", {}));
    hypervisor_.set_capabilities(capabilities());
}

model::Capabilities Host::capabilities() const {
    model::Capabilities able;
    able.version = "golden";
    able.features = protocol::our_features();
    able.networks = {"lan"};
    return able;
}

void Host::start() {
    daemon_ = std::make_unique<Daemon>(stage_, *this);
    must(daemon_->runner.recover());
}

bool Host::run_one() {
    if (!daemon_ || busy_) return false;
    busy_ = true;
    struct Over {
        bool& flag;
        ~Over() { flag = false; }
    } const over{busy_};
    return must(daemon_->runner.run_one());
}

void Host::run_all() {
    while (run_one()) {
    }
}

bool Host::has_active_tasks() {
    return !must(catalog_->tasks({std::nullopt, true, 1000})).empty();
}

json Host::machines() {
    json all = json::array();
    for (const auto& vm : must(hypervisor_.list()))
        all.push_back({{"definition", must(hypervisor_.describe(vm.id)).domain_xml},
                       {"state", kStates[static_cast<std::size_t>(vm.state)]},
                       {"autostart", vm.autostart}});
    return {{"vms", all}, {"nvram", hypervisor_.nvram_files()}, {"away", daemon_ == nullptr}};
}

void Host::define_machines(const json& machines) {
    for (const auto& [path, bytes] : machines.at("nvram").items())
        must(hypervisor_.write_nvram(path, bytes.get<std::string>()));
    for (const auto& vm : machines.at("vms")) {
        const auto text = vm.at("definition").get<std::string>();
        must(hypervisor_.define(text));
        const auto at = text.find("uuid ") + 5;
        const auto id = must(VmId::parse(text.substr(at, 36)));
        must(hypervisor_.set_autostart(id, vm.at("autostart").get<bool>()));
        if (vm.at("state") != "stopped") must(hypervisor_.start(id));
        if (vm.at("state") == "paused") must(hypervisor_.pause(id));
    }
}

Stage::Stage(std::string directory, std::uint64_t seed, Watch watch)
    : directory_(std::move(directory)), watch_(std::move(watch)), random_(seed) {
    for (const char* name : {"a", "b"})
        hosts_.push_back(std::make_unique<Host>(*this, name, directory_ + "/" + name));
    clock_.meanwhile = [this] {
        for (auto& host : hosts_) host->run_one();
    };
}

Host* Stage::find(const ClusterId& id) {
    for (auto& host : hosts_)
        if (host->identity().id == id) return host.get();
    return nullptr;
}

void Stage::save() {
    json saved{{"passed_ms", clock_.monotonic().count()}};
    for (auto& host : hosts_) saved[host->name()] = host->machines();
    std::ofstream(directory_ + "/stage.json") << saved.dump(1) << "\n";
}

void Stage::load() {
    std::ifstream file(directory_ + "/stage.json");
    const auto saved = json::parse(file);
    clock_.pass(Duration(saved.at("passed_ms").get<std::int64_t>()) + kUntilTakenUp);
    for (auto& host : hosts_) host->define_machines(saved.at(host->name()));
    for (auto& host : hosts_)
        if (!saved.at(host->name()).at("away").get<bool>()) host->start();
}

void Stage::contact_all() {
    for (auto& host : hosts_)
        for (auto& other : hosts_)
            if (host != other && host->daemon() != nullptr)
                (void)tasks::contact_peer(host->daemon()->site, other->identity().id,
                                          host->capabilities());
}

bool Stage::run_rounds() {
    for (int round = 0; round < kMostRounds; ++round) {
        for (auto& host : hosts_) host->run_all();
        contact_all();
        bool active = false;
        for (auto& host : hosts_)
            if (host->daemon() != nullptr) active = active || host->has_active_tasks();
        if (!active) return true;
        clock_.sleep(kRound);
    }
    return false;
}

void Stage::run_to_the_end() {
    run_rounds();
    for (auto& host : hosts_)
        if (host->daemon() == nullptr) host->start();
    run_rounds();
}

}  // namespace understudy::golden
