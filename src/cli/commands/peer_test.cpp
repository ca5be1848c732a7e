#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
    EXPECT_THAT(info.out, HasSubstr("network lan on the peer is br0 here"));
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
              "  network lan on the peer is br0 here\n  pool ssd on the peer is vms here\n");
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

}  // namespace
}  // namespace understudy::cli
