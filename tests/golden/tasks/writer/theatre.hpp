#pragma once

#include "stage.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace understudy::golden {

// What operators and guests do on a stage, told shortly. One VM: 'web1', with two disks.
class Theatre {
public:
    explicit Theatre(Stage& on) : stage(on), a(on.a()), b(on.b()) {}

    void pair();
    void make_vm();  // runs on a
    void write(Host& on, const std::string& target, unsigned at_kib, unsigned pattern);
    void damage(Host& on, const std::string& snapshot, unsigned at_kib);  // its frozen vda
    void unplug(const std::string& target);
    TaskId queue(Host& on, std::string_view kind, const std::string& title,
                 nlohmann::json arguments);
    void done(Host& on, std::string_view kind, const std::string& title, nlohmann::json arguments);
    void work();  // both, until nothing is due

    void snapshot(const std::string& name);  // on a
    TaskId queue_send(const std::string& name, bool full = false);
    void send(const std::string& name);  // to b
    void part();  // b is promoted while a runs it, too; they have not spoken since
    std::string id(Host& on, const std::string& snapshot);
    std::string files(Host& on, const std::string& name) {
        return on.directory() + "/files/" + name;
    }

    Stage& stage;
    Host& a;
    Host& b;
    VmId vm{base::uuid_from_random(0x77656231, 1)};
};

struct Scene {
    std::string name;
    std::function<void(Theatre&)> set;  // everything before; its daemons end well
    std::function<void(Theatre&)> act;  // what is cut off begins here
    std::function<void(tasks::SiteSettings&)> settings = {};
    std::string cut_at = {};  // the line between the two is cut at the first such event
    // The stage is what this case of an earlier scene left: "SCENE STEP WHERE"; no `set` then.
    std::string after = {};
};

std::vector<Scene> all_scenes();

}  // namespace understudy::golden
