#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

json vm_view(const std::string& name, const std::string& state = "running") {
    return {{"id", "11111111-2222-4333-8444-555555555555"},
            {"name", name},
            {"state", state},
            {"ownership", {{"epoch", 3}, {"owner", "c"}, {"phase", "owned"}}},
            {"owner_name", "home"},
            {"autostart", true},
            {"snapshots", 2},
            {"newest", "2026-11-23T09:55:48.000Z"}};
}

TEST(VmList, shows_state_owner_and_age_of_the_newest_snapshot) {
    Program program;
    auto unknown = vm_view("größe 東京", "stopped");
    unknown["ownership"] = nullptr;
    unknown["owner_name"] = "";
    unknown["snapshots"] = 0;
    unknown["newest"] = nullptr;
    auto gone = vm_view("old\x1b[2J");
    gone["ownership"]["phase"] = "superseded";
    gone["owner_name"] = "dr";
    gone["newest"] = nullptr;
    gone.erase("snapshots");
    const json answer{{"vms", {vm_view("web1"), unknown, gone}}};
    program.api.answer("GET /v1/vms", answer);
    EXPECT_EQ(program.run({"vm", "list"}).out,
              "NAME        STATE    OWNER            SNAPSHOTS  NEWEST\n"
              "web1        running  home                     2  4 m 12 s ago\n"
              "größe 東京  stopped  -                        0  none\n"
              "old\\x1b[2J  running  dr (superseded)    unknown  unknown\n");
    EXPECT_EQ(program.run({"vm", "list", "--format", "json"}).json(), answer);
}

TEST(VmList, of_nothing_says_so_beside_the_output) {
    Program program;
    program.api.answer("GET /v1/vms", {{"vms", json::array()}});
    const auto ran = program.run({"vm", "list"});
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr("No VMs"));
}

TEST(VmList, never_invents_an_age_for_a_clock_that_is_ahead) {
    Program program;
    auto ahead = vm_view("web1");
    ahead["newest"] = "2026-11-23T10:05:00.000Z";
    program.api.answer("GET /v1/vms", {{"vms", {ahead}}});
    EXPECT_THAT(program.run({"vm", "list"}).out, HasSubstr("2026-11-23T10:05:00.000Z"));
}

TEST(VmInfo, shows_disks_obstacles_and_each_peers_rpo) {
    for (const bool nested : {true, false}) {
        Program program;
        json parts{
            {"disks",
             {{{"target", "vda"},
               {"source", "/vms/a.qcow2"},
               {"format", "qcow2"},
               {"size", 10737418240ULL},
               {"volume", "v"},
               {"pool", "vms"},
               {"unsupported", nullptr}},
              {{"target", "vdb"},
               {"source", "/dev/sdx"},
               {"format", "raw"},
               {"size", nullptr},
               {"pool", nullptr},
               {"unsupported", "a host's block device"}}}},
            {"obstacles",
             {{{"severity", "blocks"}, {"key", "disk:vdb"}, {"text", "cannot travel"}}}},
            {"replications",
             {{{"peer_name", "dr"},
               {"rpo_ms", 252000},
               {"sent", "2026-11-23T09:59:50.000Z"},
               {"readiness",
                {{{"severity", "warns"}, {"key", "network:lan"}, {"text", "unmapped"}}}}},
              {{"peer_name", "far"}, {"rpo_ms", nullptr}, {"sent", nullptr}, {"readiness", "?"}}}}};
        json answer{{"vm", vm_view("web1")}};
        (nested ? answer["vm"] : answer).update(parts);
        program.api.answer("GET /v1/vms/web1", answer);
        const auto ran = program.run({"vm", "info", "web1"});
        EXPECT_EQ(ran.code, 0);
        for (const char* part :
             {"Owner:      home", "Epoch:      3", "2026-11-23T09:55:48.000Z (4 m 12 s ago)",
              "vda   qcow2   10.0 GiB  vms   /vms/a.qcow2",
              "vdb   raw      unknown  -     /dev/sdx      a host's block device",
              "blocks  disk:vdb: cannot travel", "dr    4 m 12 s  10 s ago  yes",
              "far   unknown   unknown   unknown", "warns   network:lan: unmapped"})
            EXPECT_THAT(ran.out, HasSubstr(part));
        EXPECT_EQ(program.run({"vm", "info", "web1", "--format=json"}).json(), answer);
    }
}

TEST(VmPower, tells_the_state_afterwards) {
    Program program;
    program.api.answer("POST /v1/vms/web1/start", {{"vm", vm_view("web1")}});
    EXPECT_EQ(program.run({"vm", "start", "web1"}).out, "web1 is running.\n");
    program.api.answer("POST /v1/vms/web1/shutdown", {{"vm", vm_view("web1", "stopped")}});
    EXPECT_EQ(program.run({"vm", "shutdown", "web1"}).out, "web1 is stopped.\n");
    EXPECT_EQ(program.api.last_body(), json({{"limit_ms", 120000}}));
    program.run({"vm", "shutdown", "web1", "--limit", "10m"});
    EXPECT_EQ(program.api.last_body(), json({{"limit_ms", 600000}}));
    EXPECT_GT(program.api.calls.back().timeout, std::chrono::minutes(10));
}

struct Destructive : ::testing::TestWithParam<std::vector<std::string>> {
    Program program;
    Destructive() {
        auto& api = program.api;
        const json snapshot{{"snapshot",
                             {{"name", "nightly"},
                              {"taken", "2026-11-23T07:00:00.000Z"},
                              {"holds", {"base for peer dr"}}}}};
        api.answer("GET /v1/vms/web1", {{"vm", vm_view("web1")}});
        api.answer("POST /v1/vms/web1/stop", {{"vm", vm_view("web1", "stopped")}});
        script_task(api, "POST /v1/vms/web1/release", nullptr);
        api.answer("GET /v1/vms/web1/snapshots/nightly", snapshot);
        script_task(api, "DELETE /v1/vms/web1/snapshots/nightly", nullptr);
        script_task(api, "POST /v1/vms/web1/snapshots/nightly/rollback", nullptr);
        api.answer("GET /v1/replicas/web1", {{"replica",
                                              {{"name", "web1"},
                                               {"snapshots", 5},
                                               {"owner_name", "home"},
                                               {"newest", {{"name", "nightly"}}},
                                               {"age_ms", 60000}}}});
        script_task(api, "DELETE /v1/replicas/web1", nullptr);
        api.answer("GET /v1/replicas/web1/promote",
                   {{"promotion",
                     {{"vm", "web1"},
                      {"snapshot", {{"id", "s-id"}, {"name", "nightly"}}},
                      {"age_ms", 60000},
                      {"owner_name", "home"},
                      {"epoch", 4},
                      {"last_contact", nullptr}}}});
        script_task(api, "POST /v1/replicas/web1/promote", nullptr);
        api.answer("GET /v1/peers/dr", {{"peer", {{"name", "dr"}}}});
        api.answer("DELETE /v1/peers/dr", json::object());
    }
    std::size_t changes() const {
        return static_cast<std::size_t>(std::ranges::count_if(
            program.api.calls, [](const Call& call) { return call.method != "GET"; }));
    }
};

TEST_P(Destructive, without_a_terminal_is_refused_before_any_call) {
    const auto ran = program.run(GetParam());
    EXPECT_EQ(ran.code, 2);
    EXPECT_THAT(ran.err, HasSubstr("Add -y"));
    EXPECT_THAT(program.api.calls, IsEmpty());
}

TEST_P(Destructive, says_what_is_lost_and_does_nothing_without_a_yes) {
    for (const char* answer : {"n\n", "\n", "", "yeah\n"}) {
        const auto ran = program.on_terminal(GetParam(), answer);
        EXPECT_EQ(ran.code, 1);
        EXPECT_THAT(ran.err, ::testing::ContainsRegex("lost|deleted|ends|merged away"));
        EXPECT_THAT(ran.err, HasSubstr("nothing was done"));
        EXPECT_EQ(changes(), 0U);
    }
}

TEST_P(Destructive, goes_on_after_a_yes_or_the_name) {
    const bool promote = GetParam()[1] == "promote";
    const auto ran = program.on_terminal(GetParam(), promote ? "web1\n" : "y\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(changes(), 1U);
}

TEST_P(Destructive, with_y_asks_nothing) {
    auto words = GetParam();
    words.push_back("-y");
    const auto ran = program.run(words);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(changes(), 1U);
    EXPECT_THAT(ran.err, Not(HasSubstr("[y/N]")));
}

INSTANTIATE_TEST_SUITE_P(
    Commands, Destructive,
    ::testing::Values(std::vector<std::string>{"vm", "stop", "web1"},
                      std::vector<std::string>{"vm", "release", "web1"},
                      std::vector<std::string>{"vm", "snapshot", "remove", "web1@nightly"},
                      std::vector<std::string>{"vm", "snapshot", "rollback", "web1", "nightly"},
                      std::vector<std::string>{"replica", "remove", "web1"},
                      std::vector<std::string>{"replica", "promote", "web1"},
                      std::vector<std::string>{"peer", "remove", "dr"}));

}  // namespace
}  // namespace understudy::cli
