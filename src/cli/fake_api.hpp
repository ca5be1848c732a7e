#pragma once

#include "cli/api_client/connection.hpp"
#include "cli/run.hpp"

#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

// For this folder's tests: an API with scripted answers, and the program run inside the test.

namespace understudy::cli {

struct FakeApi {
    // "GET /v1/vms" → its answers in order; the last one is given again and again.
    std::map<std::string, std::deque<Result<nlohmann::json>>> script;
    std::vector<Call> calls;
    std::vector<Target> targets;
    std::function<void()> at_call = [] {};

    void answer(const std::string& call, nlohmann::json json) {
        script[call].emplace_back(std::move(json));
    }
    void fails(const std::string& call, Error error) {
        script[call].emplace_back(fail(std::move(error)));
    }

    Result<nlohmann::json> call(const Call& call) {
        at_call();
        calls.push_back(call);
        const auto found = script.find(call.method + " " + call.path);
        if (found == script.end())
            return fail(ErrorKind::not_found, "unscripted: " + call.method + " " + call.path);
        auto answer = found->second.front();
        if (found->second.size() > 1) found->second.pop_front();
        return answer;
    }
    std::vector<std::string> asked() const {
        std::vector<std::string> asked;
        for (const auto& call : calls) asked.push_back(call.method + " " + call.path);
        return asked;
    }
    nlohmann::json last_body() const { return nlohmann::json::parse(calls.back().body); }
};

class ApiToFake : public Api {
public:
    explicit ApiToFake(FakeApi& fake) : fake_(fake) {}
    Result<nlohmann::json> call(const Call& call) override { return fake_.call(call); }

private:
    FakeApi& fake_;
};

struct Ran {
    int code = -1;
    std::string out;
    std::string err;
    nlohmann::json json() const { return nlohmann::json::parse(out); }
    nlohmann::json error() const { return nlohmann::json::parse(err).at("error"); }
};

// The program with a fake API, a clock that only pause() and the test move, no real terminal.
struct Program {
    FakeApi api;
    bool terminal = false;
    int columns = 100;
    std::string typed;
    std::map<std::string, std::string> environment;
    TimePoint now = base::parse_time("2026-11-23T10:00:00.000Z").value();
    Duration steady{1'000'000};
    std::vector<Duration> pauses;

    Ran run(const std::vector<std::string>& words) {
        std::istringstream in(typed);
        std::ostringstream out, err;
        Surroundings world{
            .in = in,
            .out = out,
            .err = err,
            .in_is_terminal = terminal,
            .out_is_terminal = terminal,
            .err_is_terminal = terminal,
            .columns = [this] { return columns; },
            .environment = [this](const char* name) -> std::optional<std::string> {
                const auto found = environment.find(name);
                return found == environment.end() ? std::nullopt : std::optional(found->second);
            },
            .now = [this] { return now; },
            .steady_now = [this] { return steady; },
            .pause =
                [this](Duration time) {
                    pauses.push_back(time);
                    steady += time;
                },
        };
        Ran ran;
        ran.code = cli::run(words, world, [this](const Target& target) {
            api.targets.push_back(target);
            return Result<std::unique_ptr<Api>>(std::make_unique<ApiToFake>(api));
        });
        ran.out = out.str();
        ran.err = err.str();
        return ran;
    }
    Ran on_terminal(const std::vector<std::string>& words, std::string answer) {
        terminal = true;
        typed = std::move(answer);
        return run(words);
    }
};

inline nlohmann::json task_json(const std::string& state, const std::string& title = "the work") {
    return {{"id", "7f3a21b0-0000-4000-8000-000000000001"},
            {"kind", "send"},
            {"title", title},
            {"state", state},
            {"step", "run"},
            {"result", nlohmann::json::object()},
            {"progress",
             {{"done_bytes", 0},
              {"total_bytes", 0},
              {"wire_bytes", 0},
              {"rate_bytes", 0},
              {"note", ""}}},
            {"attempts", 1},
            {"error_kind", ""},
            {"error", ""},
            {"cancel_requested", false},
            {"created", "2026-11-23T09:59:00.000Z"},
            {"started", nullptr},
            {"ended", nullptr},
            {"lease_node", ""}};
}

inline const std::string kTaskPath = "/v1/tasks/7f3a21b0-0000-4000-8000-000000000001";
inline const std::string kTaskId = "7f3a21b0-0000-4000-8000-000000000001";

// A task that the call starts and the first look finds finished.
inline void script_task(FakeApi& api, const std::string& call, const nlohmann::json& result,
                        const std::string& title = "the work") {
    api.answer(call, {{"task", task_json("queued", title)}});
    auto done = task_json("succeeded", title);
    done["result"] = result;
    api.answer("GET " + kTaskPath, {{"task", done}, {"progress_mark", "9"}});
}

}  // namespace understudy::cli
