#include "cli/fake_api.hpp"

#include <gmock/gmock.h>

namespace understudy::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace understudy::cli
