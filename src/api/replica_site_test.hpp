#pragma once

#include "api/memory_site_test.hpp"
#include "tasks/kinds.hpp"
#include "tasks/queue/runner.hpp"

#include <deque>
#include <map>
#include <string>

namespace understudy::api {

// Consoles that say what the test lets them say.
class FakeEvidence : public ports::Evidence {
public:
    class Log : public ports::ConsoleLog {
    public:
        explicit Log(FakeEvidence& of) : of_(of) {}
        Result<std::string> more() override {
            if (of_.said.empty()) return std::string();
            auto next = of_.said.front();
            of_.said.pop_front();
            return next;
        }

    private:
        FakeEvidence& of_;
    };

    Result<std::string> begin_console(const TaskId&) override {
        ++consoles;
        return "/console";
    }
    Result<std::unique_ptr<ports::ConsoleLog>> open_console(const TaskId&) override {
        return std::make_unique<Log>(*this);
    }
    Result<> end_console(const TaskId&) override {
        consoles = 0;
        return {};
    }
    Result<std::string> keep(const VmId&, const std::string& name,
                             const std::vector<ports::EvidenceFile>& all) override {
        if (full) return fail(ErrorKind::no_space, "the state directory is full");
        for (const auto& file : all) files[file.name] = file.bytes;
        return "/drills/" + name;
    }
    Result<> forget(const VmId&) override {
        files.clear();
        return {};
    }

    std::deque<std::string> said;
    std::map<std::string, std::string> files;
    int consoles = 0;
    bool full = false;
};

// A replica of dr's, and tasks that are run.
class ReplicaSite : public MemorySite {
protected:
    explicit ReplicaSite(const std::string& catalog_path = ":memory:") : MemorySite(catalog_path) {
        pair_with(dr_);
        replica_ = request_from(dr_, 7);
        replica_.definition.domain_xml += "disk vda qcow2 1048576 /there/vda\n";
        const auto offer = must(receiving_.offer(dr_.id, replica_));
        must(receiving_.join(dr_.id, offer.id, 1));
        must(receiving_.commit(dr_.id, offer.id, 1, {}));
        site_.evidence = evidence_;
        site_.settings.threads = false;
    }
    Answered drill(const nlohmann::json& body = nlohmann::json::object()) {
        return ask("POST", "/v1/replicas/vm7/drill", body.dump());
    }
    // Asked for, run to its end, and told.
    nlohmann::json drilled(const nlohmann::json& body = nlohmann::json::object()) {
        return ended(drill(body));
    }
    nlohmann::json ended(const Answered& asked) {
        EXPECT_EQ(asked.status, 202) << asked.text();
        tasks::Runner runner(site_, tasks::all_kinds());
        while (must(runner.run_one())) {
        }
        const auto id = asked.body.at("task").at("id").get<std::string>();
        return ask("GET", "/v1/tasks/" + id).body.at("task");
    }
    nlohmann::json result(const nlohmann::json& task) {
        EXPECT_EQ(task.at("state"), "succeeded") << task.at("error");
        return task.at("result").value("drill", nlohmann::json::object());
    }

    std::shared_ptr<FakeEvidence> evidence_ = std::make_shared<FakeEvidence>();
    model::TransferRequest replica_;
};

}  // namespace understudy::api
