// golden_tasks_writer scenes: the names of all scenes, each with the case that it begins with.
// golden_tasks_writer set SCENE ROOT: makes the stage in ROOT.
// golden_tasks_writer run SCENE ROOT EVENTS: plays it to its end, and names every event at which a
//     daemon may die, one a line: "STEP WHERE".
// golden_tasks_writer die SCENE ROOT N: plays it up to the Nth event (0 is the first) and ends
// there
//     as kill -9 would.
#include "fated_catalog.hpp"
#include "theatre.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <set>

namespace understudy::golden {
namespace {

// Sees everything that a daemon may have done last.
class Recorder {
public:
    Recorder(const Scene& scene, std::ostream* names, long die_at)
        : scene_(scene), names_(names), die_at_(die_at) {}

    void set_stage(Stage& stage) { stage_ = &stage; }

    void point(Host& host, const std::string& point) {
        const auto dot = point.rfind('.');
        const auto step = point.substr(0, dot);
        const auto where = point.substr(dot + 1);
        steps_[host.name()] = step;
        event(host, step, where);
        if (where == "after") steps_.erase(host.name());
    }

    void call(Host& host, std::string_view call) {
        static const std::set<std::string_view> kChanges{
            "catalog.save_step",        "catalog.release_task",    "catalog.save_durable",
            "catalog.publish_snapshot", "catalog.remove_snapshot", "catalog.set_ownership",
            "catalog.remove_vm",        "catalog.add_transfer",    "catalog.add_task",
            "catalog.remove_transfer",  "catalog.save_vm"};
        if (!kChanges.contains(call)) return;
        auto step = std::string("-");
        if (!steps_.empty()) step = steps_.begin()->second;
        if (const auto own = steps_.find(host.name()); own != steps_.end()) step = own->second;
        event(host, step, fmt::format("{} after-{}", host.name(), call));
        if (call == "catalog.release_task") steps_.erase(host.name());
    }

private:
    void event(Host& host, const std::string& step, const std::string& where) {
        if (stage_ == nullptr) return;
        if (names_ != nullptr) *names_ << step << " " << where << "\n";
        if (count_++ == die_at_) {
            stage_->save();
            ::_exit(0);
        }
        const auto wanted = where.find("after-catalog") == std::string::npos
                                ? host.name() + " " + step + "." + where
                                : host.name() + " " + where.substr(where.find("catalog"));
        if (wanted == scene_.cut_at && !cut_) {
            cut_ = true;
            stage_->connected = false;
        }
    }

    const Scene& scene_;
    std::ostream* names_;
    long die_at_;
    long count_ = 0;
    bool cut_ = false;
    Stage* stage_ = nullptr;
    std::map<std::string, std::string> steps_;
};

class HostFate final : public sim::Fate {
public:
    HostFate(Recorder& recorder, Host& host) : recorder_(recorder), host_(host) {}
    Result<> before(std::string_view) override { return {}; }
    Result<> after(std::string_view call) override {
        recorder_.call(host_, call);
        return {};
    }

private:
    Recorder& recorder_;
    Host& host_;
};

Watch watch_of(Recorder& recorder, const Scene& scene,
               std::vector<std::unique_ptr<HostFate>>& fates) {
    Watch watch;
    watch.settings = scene.settings;
    watch.at_point = [&recorder](Host& host) -> tasks::PointHook {
        return [&recorder, &host](const std::optional<VmId>&, const std::string& point) {
            recorder.point(host, point);
        };
    };
    watch.catalog = [&recorder, &fates](Host& host) -> std::unique_ptr<ports::Catalog> {
        fates.push_back(std::make_unique<HostFate>(recorder, host));
        return std::make_unique<sim::FatedCatalog>(host.catalog(), *fates.back());
    };
    return watch;
}

void set(const Scene& scene, const std::string& root) {
    Stage stage(root, 1);
    Theatre theatre(stage);
    for (auto& host : stage.hosts()) must(host->catalog().save_cluster(host->identity()));
    for (auto& host : stage.hosts()) host->start();
    scene.set(theatre);
    stage.save();
}

void play(const Scene& scene, const std::string& root, std::ostream* names, long die_at) {
    Recorder recorder(scene, names, die_at);
    std::vector<std::unique_ptr<HostFate>> fates;
    Stage stage(root, scene.after.empty() ? 2 : 3, watch_of(recorder, scene, fates));
    stage.load();
    recorder.set_stage(stage);
    Theatre theatre(stage);
    if (scene.act) scene.act(theatre);
    stage.run_to_the_end();
}

int run(const std::vector<std::string>& words) {
    spdlog::set_level(spdlog::level::off);
    const auto scenes = all_scenes();
    if (words == std::vector<std::string>{"scenes"}) {
        for (const auto& scene : scenes) fmt::print("{} {}\n", scene.name, scene.after);
        return 0;
    }
    for (const auto& scene : scenes) {
        if (words.size() < 3 || scene.name != words[1]) continue;
        if (words[0] == "set") set(scene, words[2]);
        if (words[0] == "run") {
            std::ofstream names(words.at(3));
            play(scene, words[2], &names, -1);
        }
        if (words[0] == "die") {
            play(scene, words[2], nullptr, std::stol(words.at(3)));
            fmt::print(stderr, "it did not die\n");
            return 1;
        }
        return 0;
    }
    return 2;
}

}  // namespace
}  // namespace understudy::golden

int main(int count, char** values) {
    try {
        return understudy::golden::run({values + 1, values + count});
    } catch (const std::exception& problem) {
        fmt::print(stderr, "{}\n", problem.what());
        return 1;
    }
}
