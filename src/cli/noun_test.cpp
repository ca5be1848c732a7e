#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Cluster, init_and_status) {
    Program program;
    program.api.answer("POST /v1/cluster", {{"cluster", {{"id", "c-id"}, {"name", "home"}}}});
    EXPECT_THAT(program.run({"cluster", "init", "home"}).out, HasSubstr("cluster home (c-id)"));
    EXPECT_EQ(program.api.last_body(), json({{"name", "home"}}));

    json status{
        {"cluster", nullptr},
        {"version", "0.1.0"},
        {"node", "alpha"},
        {"hypervisor", {{"uri", "qemu:///system"}, {"ok", false}, {"error", "no libvirtd"}}},
        {"pools", {{{"name", "vms"}, {"driver", "qcow2"}, {"total", 1ULL << 40}, {"free", 5}}}},
        {"peers", 1},
        {"vms", 2},
        {"replicas", 3},
        {"tasks_running", 0},
        {"listen_peers", "0.0.0.0:7373"}};
    program.api.answer("GET /v1/cluster", status);
    const auto ran = program.run({"cluster", "status"});
    for (const char* part :
         {"not set up yet: `understudy cluster init NAME`", "does not answer: no libvirtd",
          "API port:       unknown", "Replicas:       3", "vms   qcow2   1.0 TiB   5 B"})
        EXPECT_THAT(ran.out, HasSubstr(part));
    EXPECT_EQ(program.run({"cluster", "status", "--format", "json"}).json(), status);
}

TEST(Peer, invite_prints_only_the_token_on_stdout) {
    Program program;
    const json answer{{"token", "us1.abc"},
                      {"expires", "2026-11-23T10:15:00.000Z"},
                      {"address", "10.0.0.1:7373"}};
    program.api.answer("POST /v1/invites", answer);
    const auto ran = program.run({"peer", "invite", "--ttl", "1h"});
    EXPECT_EQ(ran.out, "us1.abc\n");
    EXPECT_THAT(ran.err, HasSubstr("understudy peer join -"));
    EXPECT_EQ(program.api.last_body(), json({{"ttl_ms", 3600000}}));
    EXPECT_EQ(program.run({"peer", "invite", "--format=json"}).json(), answer);
    EXPECT_EQ(program.api.last_body(), json({{"ttl_ms", 900000}}));
}

TEST(Peer, join_takes_the_token_from_the_command_line_or_stdin) {
    Program program;
    program.api.answer("POST /v1/peers", {{"peer", {{"name", "home"}, {"address", "h:7373"}}}});
    EXPECT_EQ(program.run({"peer", "join", "us1.abc"}).out, "Paired with home at h:7373.\n");
    EXPECT_EQ(program.api.last_body(), json({{"token", "us1.abc"}}));
    program.typed = "\n  us1.def \nsomething else\n";
    EXPECT_EQ(program.run({"peer", "join", "-"}).code, 0);
    EXPECT_EQ(program.api.last_body(), json({{"token", "us1.def"}}));
}

TEST(Peer, join_refuses_an_empty_or_endless_stdin) {
    Program program;
    EXPECT_EQ(program.run({"peer", "join", "-"}).code, 2);
    program.typed = std::string(100'000, 'x');
    EXPECT_EQ(program.run({"peer", "join", "-"}).code, 2);
    EXPECT_THAT(program.api.calls, IsEmpty());
}

json peer_view() {
    return {{"id", "p-id"},
            {"name", "dr"},
            {"address", "10.0.0.2:7373"},
            {"fingerprint", "ab12"},
            {"networks", {{"lan", "br0"}}},
            {"pools", {{"ssd", "vms"}}},
            {"rate_limit", 50 << 20},
            {"last_contact", "2026-11-23T09:59:00.000Z"},
            {"capabilities", {{"version", "0.1.0"}, {"networks", {"lan", "dmz"}}}}};
}

TEST(Peer, list_and_info) {
    Program program;
    auto silent = peer_view();
    silent["name"] = "far";
    silent["reachable"] = nullptr;
    silent["last_contact"] = nullptr;
    silent["rate_limit"] = 0;
    auto there = peer_view();
    there["reachable"] = true;
    program.api.answer("GET /v1/peers", {{"peers", {there, silent}}});
    EXPECT_EQ(program.run({"peer", "list"}).out,
              "NAME  ADDRESS        REACHABLE  LAST CONTACT  LIMIT\n"
              "dr    10.0.0.2:7373  yes        1 m 0 s ago   50.0 MiB/s\n"
              "far   10.0.0.2:7373  unknown    unknown       none\n");
    const json answer{{"peer", peer_view()}, {"reachable", false}, {"error", "timed out"}};
    program.api.answer("GET /v1/peers/dr", answer);
    const auto info = program.run({"peer", "info", "dr"});
    EXPECT_THAT(info.out, HasSubstr("Reachable:       no: timed out"));
    EXPECT_THAT(info.out, HasSubstr("network lan there is br0 here"));
    EXPECT_EQ(program.run({"peer", "info", "dr", "--format=json"}).json(), answer);
}

TEST(Peer, map_sets_removes_and_shows) {
    Program program;
    program.api.answer("PUT /v1/peers/dr/map", {{"peer", peer_view()}});
    program.api.answer("GET /v1/peers/dr", {{"peer", peer_view()}});
    const std::vector<std::pair<std::vector<std::string>, json>> cases{
        {{"network", "lan=br0", "dmz=br1"}, {{"networks", {{"lan", "br0"}, {"dmz", "br1"}}}}},
        {{"pool", "ssd=vms"}, {{"pools", {{"ssd", "vms"}}}}},
        {{"network", "a=b", "--remove", "lan"}, {{"networks", {{"a", "b"}, {"lan", nullptr}}}}},
        {{"--remove", "ssd"}, {{"pools", {{"ssd", nullptr}}}}},
    };
    for (const auto& [more, body] : cases) {
        std::vector<std::string> words{"peer", "map", "dr"};
        words.insert(words.end(), more.begin(), more.end());
        EXPECT_EQ(program.run(words).code, 0);
        EXPECT_EQ(program.api.last_body(), body);
    }
    EXPECT_EQ(program.run({"peer", "map", "dr"}).out,
              "  network lan there is br0 here\n  pool ssd there is vms here\n");
    EXPECT_EQ(program.api.calls.back().method, "GET");
    EXPECT_EQ(program.run({"peer", "map", "dr", "--remove", "nosuch"}).code, 2);
}

TEST(Peer, limit_is_bytes_per_second_or_none) {
    Program program;
    program.api.answer("PUT /v1/peers/dr/limit", {{"peer", peer_view()}});
    EXPECT_EQ(program.run({"peer", "limit", "dr", "50MiB"}).out,
              "Limit of sends to dr: 50.0 MiB/s.\n");
    EXPECT_EQ(program.api.last_body(), json({{"rate_bytes", 50 << 20}}));
    program.run({"peer", "limit", "dr", "none"});
    EXPECT_EQ(program.api.last_body(), json({{"rate_bytes", 0}}));
}

TEST(Peer, remove_by_force_says_so_to_the_api) {
    Program program;
    program.api.answer("DELETE /v1/peers/dr?force=1", json::object());
    EXPECT_EQ(program.run({"peer", "remove", "dr", "--force", "-y"}).out, "Removed peer dr.\n");
}

json replica_view() {
    return {{"id", "v-id"},
            {"name", "web1"},
            {"ownership", {{"epoch", 1}}},
            {"owner_name", "home"},
            {"newest", {{"name", "nightly"}}},
            {"age_ms", 252000},
            {"snapshots", 3},
            {"size", 44238012416ULL},
            {"readiness", {{{"severity", "blocks"}, {"key", "cpu"}, {"text", "no such CPU"}}}},
            {"ready", false},
            {"state", "replica"},
            {"late", true},
            {"next", "on home: understudy vm snapshot send web1"},
            {"verified", {{"equal", true}, {"age_ms", 60000}}}};
}

TEST(Replica, list_and_info) {
    Program program;
    auto empty = replica_view();
    empty["newest"] = nullptr;
    empty["age_ms"] = nullptr;
    empty["size"] = nullptr;
    empty["verified"] = nullptr;
    empty["ready"] = true;
    empty["readiness"] = json::array();
    empty["arriving"] = {{"received_bytes", 44238012416ULL}};
    empty["late"] = false;
    empty["next"] = "";
    const json answer{
        {"replicas", {replica_view(), empty}},
        {"unsettled",
         {{{"name", "web9"},
           {"state", "superseded"},
           {"owner_name", "home"},
           {"next", "understudy replica resolve web9 --keep-there"}}}},
        {"summary", {{{"text", "If 'home' were lost now, 1 of 2 VMs would come back here."}}}}};
    program.api.answer("GET /v1/replicas", answer);
    EXPECT_EQ(program.run({"replica", "list"}).out,
              "If 'home' were lost now, 1 of 2 VMs would come back here.\n\n"
              "NAME  STATE                OWNER  NEWEST   AGE                READY              "
              "VERIFIED           RTO      NEXT\n"
              "web1  replica              home   nightly  4 m 12 s ago LATE  no (1 in the way)  "
              "equal 1 m 0 s ago  unknown  on home: vm snapshot send web1\n"
              "web1  receiving, 41.2 GiB  home   none     -                  yes                "
              "never              unknown  -\n"
              "web9  superseded           home   -        -                  -                  "
              "-                  -        replica resolve web9 --keep-there\n\n"
              "web1:\n  blocks  cpu: no such CPU\n");
    EXPECT_EQ(program.run({"replica", "list", "--format=json"}).json(), answer);
    program.api.answer(
        "GET /v1/replicas/web1",
        {{"replica", replica_view()},
         {"snapshots", {{{"name", "nightly"}, {"taken", "2026-11-23T09:55:48.000Z"}}}},
         {"verifications",
          {{{"equal", false},
            {"age_ms", 1000},
            {"snapshot_name", "nightly"},
            {"source_name", "home"},
            {"ranges_found", 1},
            {"differing", 4096},
            {"ranges", {{{"target", "vda"}, {"offset", 8192}, {"length", 4096}}}}}}},
         {"receiving", {{{"snapshot", "next"}, {"received_bytes", 1 << 20}}}}});
    const auto ran = program.run({"replica", "info", "web1"});
    EXPECT_THAT(ran.out, HasSubstr("blocks  cpu: no such CPU"));
    EXPECT_THAT(ran.out, HasSubstr("Receiving next: 1.0 MiB so far"));
    EXPECT_THAT(ran.out, HasSubstr("nightly is not as on home"));
    EXPECT_THAT(ran.out, HasSubstr("vda at 8192, 4096 bytes"));
    EXPECT_THAT(ran.out, HasSubstr("not a recovery point yet"));
}

const json kPreview{
    {"promotion",
     {{"vm", "web1"},
      {"snapshot", {{"id", "snap-id"}, {"name", "nightly"}, {"taken", "2026-11-23T09:55:48.000Z"}}},
      {"age_ms", 252000},
      {"owner_name", "home"},
      {"last_contact", nullptr},
      {"epoch", 2},
      {"issues", {{{"severity", "warns"}, {"key", "network:lan"}, {"text", "map it"}}}},
      {"changes", {"vda: /vms/x.qcow2"}}}}};

TEST(Promote, dry_run_shows_what_would_be_lost_without_asking) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote?snapshot=nightly", kPreview);
    const auto ran = program.run({"replica", "promote", "web1@nightly", "--dry-run"});
    EXPECT_EQ(ran.code, 0);
    for (const char* part :
         {"all that was written since then (4 m 12 s)", "Last contact:     unknown",
          "New epoch:        2", "warns   network:lan: map it", "vda: /vms/x.qcow2"})
        EXPECT_THAT(ran.out, HasSubstr(part));
    EXPECT_EQ(program.api.calls.size(), 1U);
    EXPECT_EQ(program
                  .run({"replica", "promote", "web1", "--snapshot", "nightly", "--dry-run",
                        "--format=json"})
                  .json(),
              kPreview);
}

TEST(Promote, on_a_terminal_promotes_what_was_shown) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    script_task(program.api, "POST /v1/replicas/web1/promote",
                {{"vm", "web1"},
                 {"snapshot", "nightly"},
                 {"epoch", 2},
                 {"started", true},
                 {"rto_ms", 1300},
                 {"changes", {"vda: /vms/x.qcow2"}}});
    EXPECT_EQ(program.on_terminal({"replica", "promote", "web1"}, "y\n").code, 1);
    const auto ran = program.on_terminal({"replica", "promote", "web1"}, "web1\n");
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_LT(ran.err.find("4 m 12 s"), ran.err.find("type the VM's name"));
    EXPECT_EQ(ran.out,
              "web1 is owned here now, epoch 2, from snapshot nightly; it runs (RTO 1.3 s).\n"
              "  changed: vda: /vms/x.qcow2\n");
    EXPECT_EQ(json::parse(program.api.calls[program.api.calls.size() - 2].body),
              json({{"start", true}, {"accept", json::array()}, {"snapshot", "snap-id"}}));
}

TEST(Promote, with_y_passes_the_wishes_on) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    program.api.answer("POST /v1/replicas/web1/promote", {{"task", task_json("queued")}});
    const auto ran = program.run(
        {"replica", "promote", "web1", "--no-start", "--accept", "network:lan", "-y", "--no-wait"});
    EXPECT_EQ(ran.out, kTaskId + "\n");
    EXPECT_EQ(program.api.last_body(), json({{"start", false}, {"accept", {"network:lan"}}}));
}

TEST(Promote, takes_it_from_a_living_owner_only_when_told_so) {
    Program program;
    program.api.answer("GET /v1/replicas/web1/promote", kPreview);
    program.api.answer("POST /v1/replicas/web1/promote", {{"task", task_json("queued")}});
    program.run({"replica", "promote", "web1", "-y", "--no-wait"});
    EXPECT_FALSE(program.api.last_body().contains("owner_may_answer"));
    program.run({"replica", "promote", "web1", "-y", "--no-wait", "--even-if-owner-answers"});
    EXPECT_EQ(program.api.last_body().at("owner_may_answer"), true);
}

TEST(Task, list_and_info) {
    Program program;
    auto running = task_json("running", "send web1@n to dr");
    running["progress"] = {{"done_bytes", 1 << 29}, {"total_bytes", 1 << 30}};
    running["cancel_requested"] = true;
    program.api.answer("GET /v1/tasks?active=1", {{"tasks", {running}}});
    program.api.answer("GET /v1/tasks?vm=web%201", {{"tasks", json::array()}});
    EXPECT_EQ(program.run({"task", "list"}).out,
              "ID        STATE     WHAT               CREATED      PROGRESS\n"
              "7f3a21b0  stopping  send web1@n to dr  1 m 0 s ago  50 % of 1.0 GiB\n");
    EXPECT_EQ(program.run({"task", "list", "--all", "--vm", "web 1"}).out, "");
    auto failed = task_json("failed");
    failed["error"] = "no space";
    failed["error_kind"] = "no_space";
    failed["result"] = {{"bytes", 5}};
    program.api.answer("GET /v1/tasks/7f3a", {{"task", failed}, {"progress_mark", ""}});
    const auto ran = program.run({"task", "info", "7f3a"});
    EXPECT_THAT(ran.out, HasSubstr("Last error (no_space): no space"));
    EXPECT_THAT(ran.out, HasSubstr("\"bytes\": 5"));
    EXPECT_THAT(ran.out, Not(HasSubstr("Ended")));
}

TEST(Task, cancel_and_retry) {
    Program program;
    program.api.answer("POST /v1/tasks/7f3a/cancel", {{"task", task_json("running")}});
    EXPECT_THAT(program.run({"task", "cancel", "7f3a"}).out, HasSubstr("Asked the work to stop"));
    script_task(program.api, "POST /v1/tasks/7f3a/retry", nullptr, "take a snapshot");
    EXPECT_EQ(program.run({"task", "retry", "7f3a"}).out, "Done: take a snapshot.\n");
}

json lines(int from, int to) {
    json all = json::array();
    for (int i = from; i <= to; ++i)
        all.push_back({{"sequence", i},
                       {"time", "2026-11-23T09:59:00.000Z"},
                       {"text", "line " + std::to_string(i) + "\x1b"}});
    return {{"lines", all}};
}

TEST(TaskLog, reads_on_until_there_is_no_more) {
    Program program;
    program.api.answer("GET /v1/tasks/7f3a/log?after=0", lines(1, 2));
    program.api.answer("GET /v1/tasks/7f3a/log?after=2", lines(3, 3));
    program.api.answer("GET /v1/tasks/7f3a/log?after=3", lines(1, 0));
    EXPECT_EQ(program.run({"task", "log", "7f3a"}).out,
              "2026-11-23T09:59:00.000Z  line 1\\x1b\n"
              "2026-11-23T09:59:00.000Z  line 2\\x1b\n"
              "2026-11-23T09:59:00.000Z  line 3\\x1b\n");
    EXPECT_EQ(program.run({"task", "log", "7f3a", "--format=json"}).json(), lines(1, 3));
}

TEST(TaskLog, follow_ends_with_the_task_and_misses_nothing) {
    Program program;
    auto& api = program.api;
    api.answer("GET /v1/tasks/7f3a", {{"task", task_json("running")}, {"progress_mark", "1"}});
    api.answer("GET /v1/tasks/7f3a?wait_ms=2000&progress=1",
               {{"task", task_json("failed")}, {"progress_mark", "2"}});
    api.answer("GET /v1/tasks/7f3a/log?after=0", lines(1, 1));
    api.answer("GET /v1/tasks/7f3a/log?after=1", lines(1, 0));
    api.answer("GET /v1/tasks/7f3a/log?after=1", lines(2, 2));
    api.answer("GET /v1/tasks/7f3a/log?after=2", lines(1, 0));
    const auto ran = program.run({"task", "log", "7f3a", "--follow"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("line 2"));
}

TEST(Version, needs_no_daemon) {
    Program program;
    EXPECT_EQ(program.run({"version"}).out, "understudy 0.1.0\n");
    EXPECT_EQ(program.run({"version", "--format=json"}).json(), json({{"version", "0.1.0"}}));
    EXPECT_THAT(program.api.targets, IsEmpty());
}

}  // namespace
}  // namespace understudy::cli
